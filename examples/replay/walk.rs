//! A walk through a log, command by command.

use super::log::{Line, Log};

/// Lines shown around a place.
const AROUND: usize = 8;

const HELP: &str = "  n, Enter     next line            p        the one before
  +N, -N       N lines on, or back   N        line N of the file
  e EVENT      next of this event    b EVENT  the one before (fault, crash, leads, turn, begins, ...)
  /WORD        next line with WORD   ?WORD    the one before
  f n2,fault   see only these members and events; f alone: everything
  s            where everybody stands
  l            the lines around      g, G     the first, the last line
  q            the end";

/// Members and events that are wanted; none is all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    nodes: Vec<u64>,
    events: Vec<String>,
}

impl Filter {
    /// `n2,n3,fault`; `-` is the world itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            match word.strip_prefix('n').map(str::parse) {
                Some(Ok(node)) => filter.nodes.push(node),
                _ if word == "-" => filter.nodes.push(0),
                _ if word.chars().all(|letter| letter.is_ascii_lowercase()) => {
                    filter.events.push(word.to_owned());
                }
                _ => return Err(format!("{word:?} is neither n<member>, - nor an event")),
            }
        }
        Ok(filter)
    }

    pub(crate) fn wants(&self, line: &Line) -> bool {
        (self.nodes.is_empty() || self.nodes.contains(&line.node.unwrap_or(0)))
            && (self.events.is_empty() || self.events.contains(&line.event))
    }
}

/// A place in a log.
pub(crate) struct Walk {
    log: Log,
    place: usize,
    filter: Filter,
}

impl Walk {
    pub(crate) fn new(log: Log) -> Self {
        Self { log, place: 0, filter: Filter::default() }
    }

    /// What there is to see at first.
    pub(crate) fn begin(&self) -> String {
        let head: Vec<String> = self.log.head.iter().map(|line| format!("# {line}")).collect();
        let lines = self.log.lines.len();
        format!("{}\n# {lines} lines; h for help\n{}", head.join("\n"), self.here())
    }

    /// Does what a command says; what there is to see then. None is the end.
    pub(crate) fn obey(&mut self, command: &str) -> Option<String> {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        let told = match (word, rest) {
            ("q", _) => return None,
            ("n" | "", _) => self.go(true, 1),
            ("p", _) => self.go(false, 1),
            ("g", _) => self.at(0),
            ("G", _) => self.at(self.log.lines.len() - 1),
            ("s", _) => self.log.state_at(self.place).to_string(),
            ("l", _) => self.around(),
            ("h", _) => HELP.to_owned(),
            ("e", event) => self.find(true, |line| line.event == event),
            ("b", event) => self.find(false, |line| line.event == event),
            ("f", filter) => match Filter::parse(filter) {
                Ok(filter) => {
                    self.filter = filter;
                    self.around()
                }
                Err(mistake) => mistake,
            },
            _ => self.jump(command),
        };
        Some(told)
    }

    fn jump(&mut self, command: &str) -> String {
        if let Some(word) = command.strip_prefix('/') {
            return self.find(true, |line| line.to_string().contains(word));
        }
        if let Some(word) = command.strip_prefix('?') {
            return self.find(false, |line| line.to_string().contains(word));
        }
        let number = command.trim_start_matches(['+', '-']).parse::<usize>();
        match (number, command.chars().next()) {
            (Ok(count), Some('+')) => self.go(true, count),
            (Ok(count), Some('-')) => self.go(false, count),
            (Ok(number), _) => {
                let place = self.log.lines.partition_point(|line| line.number < number);
                self.at(place.min(self.log.lines.len() - 1))
            }
            (Err(_), _) => format!("{command:?} is no command; h for help"),
        }
    }

    /// So many lines that the filter wants.
    fn go(&mut self, forward: bool, count: usize) -> String {
        let mut told = self.here();
        for _ in 0..count {
            told = self.find(forward, |_| true);
        }
        told
    }

    fn at(&mut self, place: usize) -> String {
        self.place = place;
        self.here()
    }

    fn find(&mut self, forward: bool, wanted: impl Fn(&Line) -> bool) -> String {
        let is_it = |place: &usize| {
            let line = &self.log.lines[*place];
            self.filter.wants(line) && wanted(line)
        };
        let found = if forward {
            (self.place + 1..self.log.lines.len()).find(is_it)
        } else {
            (0..self.place).rev().find(is_it)
        };
        match found {
            Some(place) => self.at(place),
            None if forward => "no such line behind this one".to_owned(),
            None => "no such line before this one".to_owned(),
        }
    }

    fn here(&self) -> String {
        self.log.lines[self.place].to_string()
    }

    fn around(&self) -> String {
        let wanted = |place: &usize| self.filter.wants(&self.log.lines[*place]);
        let mut before: Vec<usize> = (0..self.place).rev().filter(wanted).take(AROUND).collect();
        before.reverse();
        let after = (self.place..self.log.lines.len()).filter(wanted).take(AROUND + 1);
        let show = |place: usize| {
            let mark = if place == self.place { '>' } else { ' ' };
            format!("{mark}{}", self.log.lines[place])
        };
        before.into_iter().chain(after).map(show).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk() -> Walk {
        let text: String = (1..=40)
            .map(|n| match n % 10 {
                0 => format!("{n}.5s n{} fault {n} Crash\n", n / 10),
                _ => format!("{n}.5s n{} turn Driver commit {n}\n", n % 3),
            })
            .collect();
        Walk::new(Log::parse(&text).unwrap())
    }

    fn place(walk: &mut Walk, command: &str) -> usize {
        walk.obey(command).unwrap();
        walk.log.lines[walk.place].number
    }

    #[test]
    fn it_goes_where_it_is_told() {
        let walk = &mut walk();
        let places: Vec<usize> =
            ["n", "", "p", "+5", "-2", "30", "e turn", "b fault", "/commit 33", "?n1", "g", "G"]
                .iter()
                .map(|command| place(walk, command))
                .collect();
        assert_eq!(places, [2, 3, 2, 7, 5, 30, 31, 30, 33, 31, 1, 40]);
        assert_eq!(walk.obey("n").unwrap(), "no such line behind this one");
        assert!(walk.obey("xyz").unwrap().contains("no command"));
        assert!(walk.obey("q").is_none());
    }

    #[test]
    fn a_filter_hides_the_others() {
        let walk = &mut walk();
        assert_eq!(walk.obey("f n2,fault").unwrap().lines().count(), 1);
        assert_eq!(place(walk, "n"), 20);
        assert!(walk.obey("n").unwrap().contains("no such line"));
        walk.obey("f").unwrap();
        assert_eq!(place(walk, "n"), 21);
        assert!(walk.obey("f Ab").unwrap().contains("neither"));
        assert!(walk.obey("s").unwrap().contains("commit 19"));
        assert!(walk.obey("l").unwrap().contains(">     21"), "{}", walk.obey("l").unwrap());
    }
}
