//! Answers that say nothing.

use haversack_protocol::EndBody;
use haversack_testing::Answer;

/// A well-formed reply that says nothing about anything.
pub fn empty_reply(bytes: &[u8]) -> Vec<u8> {
    let answer = Answer::read(bytes).expect("a reply");
    Answer { pages: vec![], hints: None, end: EndBody { more: false }, ..answer }.write()
}
