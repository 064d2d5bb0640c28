//! How far a migration has come, kept at its destination: one key that is written together with what it speaks of.
//!
//! It begins with a zero byte, so that it is nobody's: no program of etcd's lists it among its own keys. Every write of a
//! migration holds only if the key is as it was, so two that run at the same time cannot both write.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cli::exit::Exit;

/// Where it stands, until `migrate finish` takes it away.
pub(super) const KEY: &[u8] = b"\0quorate/migrate";

/// Of what [`Mark`] says.
const FORMAT: u32 = 1;

/// What the key's value says, as JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    format: u32,
    /// The source's id, hexadecimal.
    pub cluster: String,
    /// Drawn by each process that takes the migration up.
    pub run: String,
    pub state: State,
    /// Of the source.
    pub revision: i64,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// On the way to being what the source was at the revision.
    Copying,
    /// What the source was at the revision.
    Following,
}

impl Mark {
    pub(super) fn new(cluster: u64, state: State, revision: i64) -> Result<Self, Exit> {
        let mut dice = [0; 8];
        getrandom::fill(&mut dice)
            .map_err(|error| Exit::error(format!("no random bytes: {error}")))?;
        let (cluster, run) = (format!("{cluster:x}"), format!("{:x}", u64::from_le_bytes(dice)));
        Ok(Self { format: FORMAT, cluster, run, state, revision })
    }

    /// The same migration, so far.
    pub(super) fn at(&self, state: State, revision: i64) -> Self {
        Self { state, revision, ..self.clone() }
    }

    pub(super) fn to_bytes(&self) -> Result<Bytes, Exit> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Bytes::from).map_err(|error| Exit::error(format!("the mark: {error}")))
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Exit> {
        let parsed: Result<Self, _> = serde_json::from_slice(bytes);
        let mark = parsed.map_err(|error| {
            let said = String::from_utf8_lossy(bytes);
            Exit::error(format!("the destination's mark cannot be read ({error}): {said}"))
        })?;
        if mark.format != FORMAT {
            return Err(Exit::error(format!(
                "the destination's mark has format {}, and this program knows {FORMAT}: go on with the version that began",
                mark.format
            )));
        }
        Ok(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_no_other_is() {
        let mark = Mark::new(0xcafe, State::Copying, 7).unwrap();
        assert_eq!(Mark::parse(&mark.to_bytes().unwrap()).unwrap(), mark);
        let later = mark.at(State::Following, 9);
        assert_eq!((later.cluster.as_str(), later.run.as_str()), ("cafe", mark.run.as_str()));
        let text = String::from_utf8(later.to_bytes().unwrap().to_vec()).unwrap();
        assert!(text.contains(r#""state":"following","revision":9"#), "{text}");
        let told = |text: &str| Mark::parse(text.as_bytes()).unwrap_err().text;
        assert!(told("mine").contains("mine"));
        let newer = text.replace("\"format\":1", "\"format\":2");
        assert!(told(&newer).contains("format 2"), "{}", told(&newer));
    }

    #[test]
    fn two_runs_have_two_marks() {
        let mark = || Mark::new(1, State::Copying, 1).unwrap();
        assert_ne!(mark().run, mark().run);
    }
}
