//! The event log of a simulated world as text: its lines, and what they say together about where everybody stands.
//!
//! Knows nothing of the world itself: only the lines that `tests/sim/trace.rs` describes.

use std::collections::BTreeMap;
use std::fmt;

/// A line that is no comment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    /// In the file, from 1.
    pub(crate) number: usize,
    pub(crate) time: String,
    /// None is the world itself.
    pub(crate) node: Option<u64>,
    pub(crate) event: String,
    pub(crate) text: String,
}

/// A whole log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// Lines that begin with `#`: which world it is, what it broke, how to run it again.
    pub(crate) head: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

impl Line {
    pub(crate) fn parse(number: usize, line: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("line {number}: {what}: {line:?}");
        let mut words = line.splitn(4, ' ');
        let mut word = |what: &str| words.next().ok_or_else(|| wrong(what));
        let (time, node, event) = (word("no time")?, word("no member")?, word("no event")?);
        let text = words.next().unwrap_or_default();
        let is_time = time.strip_suffix('s').is_some_and(|time| time.parse::<f64>().is_ok());
        if !is_time {
            return Err(wrong("it does not begin with a time in seconds"));
        }
        let node = match node.strip_prefix('n').map(str::parse) {
            None if node == "-" => None,
            Some(Ok(node)) => Some(node),
            _ => return Err(wrong("its second word is neither n<member> nor -")),
        };
        let (time, event, text) = (time.to_owned(), event.to_owned(), text.to_owned());
        Ok(Self { number, time, node, event, text })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node.map_or_else(|| "-".to_owned(), |node| format!("n{node}"));
        let Self { number, time, event, text, .. } = self;
        write!(f, "{number:>7} {time:>14} {node:>5} {event:<9} {text}")
    }
}

impl Log {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut log = Self::default();
        for (place, line) in text.lines().enumerate() {
            match line.strip_prefix('#') {
                Some(head) => log.head.push(head.trim().to_owned()),
                None if line.trim().is_empty() => {}
                None => log.lines.push(Line::parse(place + 1, line)?),
            }
        }
        Ok(log)
    }

    /// Where everybody stands after the line at this place.
    pub(crate) fn state_at(&self, place: usize) -> State {
        let mut state = State::default();
        for line in self.lines.iter().take(place + 1) {
            state.take(line);
        }
        state
    }
}

/// One member, as far as the log has told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Standing {
    /// `up`, `down`, `paused`, `retired` or `damaged`.
    pub(crate) mode: &'static str,
    /// Numbers and words that its lines named last, by their names: term, commit, applied, ...
    pub(crate) known: BTreeMap<String, String>,
}

/// Everybody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct State {
    pub(crate) nodes: BTreeMap<u64, Standing>,
    /// Links over which nothing passes, as the log says it.
    pub(crate) cut: String,
    /// Operations that have begun and not ended.
    pub(crate) waiting: BTreeMap<String, String>,
    pub(crate) faults: usize,
}

/// What a member's lines are searched for.
const KNOWN: &[&str] =
    &["boot", "role", "term", "leader", "commit", "last", "applied", "revision", "compacted"];

impl State {
    fn take(&mut self, line: &Line) {
        match (line.event.as_str(), line.node) {
            ("fault", _) => self.faults += 1,
            ("cut", _) => self.cut.clone_from(&line.text),
            ("heal", _) => self.cut.clear(),
            ("begins", Some(node)) => {
                self.waiting.insert(operation(&line.text), format!("n{node}"));
            }
            ("ends", _) => {
                self.waiting.remove(&operation(&line.text));
            }
            _ => {}
        }
        let Some(node) = line.node else { return };
        let standing = self.nodes.entry(node).or_default();
        match line.event.as_str() {
            "start" => {
                standing.mode = "up";
                standing.known.clear();
            }
            "resume" => standing.mode = "up",
            "crash" | "faulted" => {
                standing.mode = "down";
                standing.known.remove("role");
            }
            "paused" => standing.mode = "paused",
            "retire" => standing.mode = "retired",
            "damage" => standing.mode = "damaged",
            _ => {}
        }
        if matches!(line.event.as_str(), "turn" | "start" | "leads") {
            let words: Vec<&str> = line.text.split(' ').collect();
            for pair in words.windows(2).filter(|pair| KNOWN.contains(&pair[0])) {
                standing.known.insert(pair[0].to_owned(), pair[1].to_owned());
            }
        }
        if line.event == "leads" {
            standing.known.insert("role".to_owned(), "Leader".to_owned());
        }
    }

    /// Who says that it leads, the highest term first.
    pub(crate) fn leaders(&self) -> Vec<(u64, u64)> {
        let term = |standing: &Standing| standing.known.get("term")?.parse::<u64>().ok();
        let leads =
            |standing: &Standing| standing.known.get("role").is_some_and(|role| role == "Leader");
        let mut leaders: Vec<(u64, u64)> = self
            .nodes
            .iter()
            .filter(|(_, standing)| leads(standing))
            .map(|(node, standing)| (term(standing).unwrap_or_default(), *node))
            .collect();
        leaders.sort_unstable_by(|one, other| other.cmp(one));
        leaders
    }
}

/// `op 7` of `op 7 of client 2: ...` and of `op 7: ...`.
fn operation(text: &str) -> String {
    text.split([':', ' ']).take(2).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (node, Standing { mode, known }) in &self.nodes {
            write!(f, "  n{node:<4} {mode:<8}")?;
            for name in KNOWN {
                if let Some(value) = known.get(*name) {
                    write!(f, " {name} {value}")?;
                }
            }
            writeln!(f)?;
        }
        let leaders: Vec<String> =
            self.leaders().iter().map(|(term, node)| format!("n{node} of term {term}")).collect();
        let leaders = if leaders.is_empty() { "nobody".to_owned() } else { leaders.join(", ") };
        writeln!(f, "  leads: {leaders}")?;
        if !self.cut.is_empty() {
            writeln!(f, "  cut: {}", self.cut)?;
        }
        write!(f, "  {} faults so far, {} operations wait", self.faults, self.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "# world 7: 2 operations
# replay: SIM_SEED=7
0.001000s n1 start boot 1 applied 1 None
0.001000s n2 start boot 1 applied 1 None
0.100000s n1 leads term 2
0.110000s n1 turn Driver role Leader term 2 leader 1 commit 4 last 5 applied 3 revision 2
0.120000s n2 begins op 7 of client 3: Put(PutRequest { key: \"a\" })
0.130000s - cut n1>n2 n2>n1
0.140000s n2 fault 1 Crash
0.140000s n2 crash power true torn 0
0.150000s - heal the network is whole
0.160000s n2 ends op 7: index 5 revision 3
";

    #[test]
    fn a_log_says_where_everybody_stands() {
        let log = Log::parse(LOG).unwrap();
        assert_eq!(log.head, ["world 7: 2 operations", "replay: SIM_SEED=7"]);
        assert_eq!((log.lines.len(), log.lines[0].number), (10, 3));
        let state = log.state_at(5);
        assert_eq!((state.leaders(), state.cut.as_str()), (vec![(2, 1)], "n1>n2 n2>n1"));
        assert_eq!(state.waiting, BTreeMap::from([("op 7".to_owned(), "n2".to_owned())]));
        assert_eq!(state.nodes[&1].known["commit"], "4");
        let state = log.state_at(9);
        assert_eq!((state.nodes[&2].mode, state.cut.as_str(), state.faults), ("down", "", 1));
        assert!(state.waiting.is_empty());
        assert!(state.to_string().contains("leads: n1 of term 2"), "{state}");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let wrong = |text: &str| Log::parse(text).unwrap_err();
        assert!(wrong("# head\nhello").starts_with("line 2: "));
        assert!(wrong("now n1 turn x").contains("time in seconds"));
        assert!(wrong("1.5s x1 turn x").contains("neither n<member> nor -"));
        assert_eq!(Line::parse(1, "1.5s - heal").unwrap().text, "");
    }
}
