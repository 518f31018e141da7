//! Stories over real stores and the real server: what people see of each other, what an app may say, and what a broken
//! or hostile server cannot do.

mod input;
mod pages;
mod people;
mod replies;
