//! Passwords: behind a colon, or asked for on the terminal without showing them.

use std::io::{self, BufRead as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// `name:password`; what is missing is asked for.
pub(in crate::cli) fn split_or_ask(
    prompt: &str,
    said: &str,
) -> Result<(String, String), io::Error> {
    match said.split_once(':') {
        Some((name, password)) => Ok((name.to_owned(), password.to_owned())),
        None => Ok((said.to_owned(), ask(prompt)?)),
    }
}

/// A line of stdin, whose terminal does not show it; empty at its end.
pub(in crate::cli) fn ask(prompt: &str) -> io::Result<String> {
    let mut out = io::stdout().lock();
    write!(out, "{prompt}")?;
    out.flush()?;
    let hidden = Hidden::begin();
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    drop(hidden);
    writeln!(out)?;
    read?;
    Ok(line.trim().to_owned())
}

/// The terminal as it was, until this is dropped; nothing where stdin is none.
struct Hidden(Option<Termios>);

impl Hidden {
    fn begin() -> Self {
        let Ok(before) = tcgetattr(io::stdin()) else { return Self(None) };
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let is_silent = tcsetattr(io::stdin(), OptionalActions::Now, &silent).is_ok();
        Self(is_silent.then_some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // Nothing better is known about a terminal that refuses what it had.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
