//! A table with borders of ASCII, as etcdctl draws it.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement};

/// Header and rows; every row has as many cells as the header.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table
            .load_preset("||--+-++|    ++++++")
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.header.iter().enumerate().map(|(column, name)| {
            let mut title = name.to_uppercase().replace('_', " ");
            // Where the blanks around a title cannot be halved, etcdctl has one more behind it.
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            if cells.max().unwrap_or_default().saturating_sub(title.len()) % 2 == 1 {
                title.push(' ');
            }
            comfy_table::Cell::new(title).set_alignment(CellAlignment::Center)
        }));
        for row in &self.rows {
            table.add_row(
                row.iter()
                    .map(|text| comfy_table::Cell::new(text).set_alignment(CellAlignment::Right)),
            );
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_like_etcdctls() {
        let table = Table {
            header: vec!["endpoint", "is leader", "status"],
            rows: vec![
                vec!["a:1".to_owned(), "true".to_owned(), "started".to_owned()],
                vec!["bb:2".to_owned(), "false".to_owned(), String::new()],
            ],
        };
        assert_eq!(
            table.to_string(),
            "+----------+-----------+---------+\n\
             | ENDPOINT | IS LEADER | STATUS  |\n\
             +----------+-----------+---------+\n\
             |      a:1 |      true | started |\n\
             |     bb:2 |     false |         |\n\
             +----------+-----------+---------+"
        );
    }
}
