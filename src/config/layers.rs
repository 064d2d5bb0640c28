//! Defaults, file, variables and flags as one: which value counts, and where a person finds it.

use std::path::PathBuf;

use figment::error::Kind as ErrorKind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::keys::{KEYS, Key, Kind, Settings};
use super::mistakes::Mistakes;
use super::sources::{Text, Written};
use super::types::{Initial, List};

const DEFAULTS: &str = "defaults";

pub(super) struct Layers {
    figment: Figment,
    file: Option<(PathBuf, Text)>,
}

impl Layers {
    pub(super) fn new(written: Written) -> Self {
        let defaults = Serialized::defaults(Settings::default());
        let mut figment = Figment::from(Named::new(DEFAULTS, &defaults));
        let path = |path: &PathBuf| path.display().to_string();
        match &written.file {
            None => {}
            Some((file, Text::Toml(text))) => {
                figment = figment.merge(Named::new(path(file), &Toml::string(text)));
            }
            Some((file, Text::Yaml(entries))) => {
                for (key, _, value) in entries {
                    let one = Serialized::default(key, value);
                    figment = figment.merge(Named::new(path(file), &one));
                }
            }
        }
        for (key, (variable, value)) in &written.environment {
            let one = Serialized::default(key, value);
            figment = figment.merge(Named::new(variable.clone(), &one));
        }
        for (key, value) in &written.flags {
            let one = Serialized::default(key, value);
            figment = figment.merge(Named::new(format!("--{key}"), &one));
        }
        Self { figment, file: written.file }
    }

    /// `file:line`, a variable or a flag; none for a default.
    pub(super) fn place(&self, key: &str) -> Option<String> {
        self.place_of(&[key.to_owned()])
    }

    fn place_of(&self, path: &[String]) -> Option<String> {
        let name = &self.figment.find_metadata(path.first()?)?.name;
        if name == DEFAULTS {
            return None;
        }
        match &self.file {
            Some((file, text)) if file.display().to_string() == *name => {
                let line = match text {
                    Text::Toml(text) => line_of(text, path),
                    Text::Yaml(entries) => {
                        let last = entries
                            .iter()
                            .rfind(|(key, ..)| Some(*key) == path.first().map(String::as_str));
                        last.map(|(_, line, _)| *line)
                    }
                };
                Some(format!("{name}:{}", line.unwrap_or(1)))
            }
            _ => Some(name.to_string()),
        }
    }

    /// The values that count; and the keys whose value cannot be read, which keep their defaults and are told.
    pub(super) fn settings(&self, mistakes: &mut Mistakes) -> (Settings, Vec<String>) {
        let mut mistaken = Vec::new();
        let mut object = serde_json::Map::new();
        for key in KEYS {
            let read = match key.kind {
                Kind::Text => self.read::<String>(key),
                Kind::List => self.read::<List>(key),
                Kind::Initial => self.read::<Initial>(key),
                Kind::Number => self.read::<i64>(key),
                Kind::Switch => self.read::<bool>(key),
            };
            match read {
                Ok(value) => {
                    object.insert(key.name.to_owned(), value);
                }
                Err(error) => {
                    mistakes.push(error);
                    mistaken.push(key.name.to_owned());
                }
            }
        }
        let figment = Figment::from(Serialized::defaults(Settings::default()))
            .merge(Serialized::defaults(Value::Object(object)));
        // Each value was read as what its key takes.
        let settings = figment.extract().unwrap_or_else(|error| {
            mistakes.push(error.to_string());
            Settings::default()
        });
        (settings, mistaken)
    }

    /// The value as JSON, or what is wrong with it.
    fn read<T: DeserializeOwned + Serialize>(&self, key: &Key) -> Result<Value, String> {
        let read = self.figment.extract_inner_lossy::<T>(key.name);
        let value = read.map_err(|error| self.explain(key, &error))?;
        serde_json::to_value(value).map_err(|error| error.to_string())
    }

    fn explain(&self, key: &Key, error: &figment::Error) -> String {
        let mut path = error.path.clone();
        if path.first().is_none_or(|first| first != key.name) {
            path.insert(0, key.name.to_owned());
        }
        let place = self.place_of(&path).unwrap_or_default();
        let (name, expected) = (key.name, key.expected());
        match &error.kind {
            ErrorKind::InvalidType(found, _) | ErrorKind::InvalidValue(found, _) => {
                format!("{place}: {name} is {found}; expected {expected}")
            }
            other => format!("{place}: {name}: {other}; expected {expected}"),
        }
    }
}

pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

/// The line of a key path; of its longest known part.
pub(super) fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let document = toml_edit::Document::parse(text).ok()?;
    let mut table: &dyn toml_edit::TableLike = document.as_table();
    let mut line = None;
    for part in path {
        let Some((key, item)) = table.get_key_value(part) else { break };
        if let Some(span) = key.span() {
            line = Some(line_at(text, span.start));
        }
        match item.as_table_like() {
            Some(inner) => table = inner,
            None => break,
        }
    }
    line
}

/// A layer that says its name as a person knows it: a file's path, a variable, a flag.
struct Named {
    name: String,
    data: Result<Map<Profile, Dict>, Box<figment::Error>>,
}

impl Named {
    fn new(name: impl Into<String>, layer: &impl Provider) -> Self {
        Self { name: name.into(), data: layer.data().map_err(Box::new) }
    }
}

impl Provider for Named {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.data.clone().map_err(|error| *error)
    }
}
