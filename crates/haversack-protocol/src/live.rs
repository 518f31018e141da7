//! What passes over a live connection: pokes, and why it is closed. It carries no record and no verdict.

/// The WebSocket subprotocol; an answer that does not name it is not from a Haversack server.
pub const LIVE_PROTOCOL: &str = "haversack.v1";

/// Names the device in the request that opens a live connection, in hexadecimal.
pub const LIVE_DEVICE_HEADER: &str = "haversack-device";

/// Says how far the log reaches that the device may see and did not write itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PokeBody {
    /// Last such position; 0 when there is none.
    #[n(0)]
    pub position: u64,
}

/// Why a server closes a live connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveClose {
    /// The server shuts down.
    Stopping,
    /// The device sent what no live connection carries.
    Malformed,
    /// The token is no longer good.
    Token,
    /// A newer connection of the same device took its place.
    Replaced,
    /// The device did not answer a heartbeat in time.
    Slow,
}

impl LiveClose {
    /// Every reason, in order of its code.
    pub const ALL: [Self; 5] = [Self::Stopping, Self::Malformed, Self::Token, Self::Replaced, Self::Slow];

    /// The WebSocket close code.
    pub const fn code(self) -> u16 {
        match self {
            Self::Stopping => 1001,
            Self::Malformed => 1003,
            Self::Token => 4001,
            Self::Replaced => 4002,
            Self::Slow => 4003,
        }
    }

    /// The reason a close code stands for.
    pub fn of(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The reason in a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Malformed => "malformed",
            Self::Token => "token",
            Self::Replaced => "replaced",
            Self::Slow => "slow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_reads_back_as_its_reason() {
        for reason in LiveClose::ALL {
            assert_eq!(LiveClose::of(reason.code()), Some(reason));
        }
        assert_eq!(LiveClose::of(1000), None);
    }
}
