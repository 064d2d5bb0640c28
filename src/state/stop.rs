//! The two ways in which a piece of work ends early.

use super::reply::Rejection;
use crate::storage::Fault;

/// What a reading or writing piece of the state answers: a result, a rejection (part of the reply), or a fault.
pub type Answer<T> = Result<Result<T, Rejection>, Fault>;

/// Both in one, so that `?` serves for them inside this room.
#[derive(Debug)]
pub(super) enum Stop {
    Rejected(Rejection),
    Fault(Fault),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

pub(super) fn answer<T>(result: Result<T, Stop>) -> Answer<T> {
    match result {
        Ok(reply) => Ok(Ok(reply)),
        Err(Stop::Rejected(rejection)) => Ok(Err(rejection)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}
