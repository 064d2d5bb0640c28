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
        table.set_header(self.header.iter().map(|name| {
            comfy_table::Cell::new(name.to_uppercase()).set_alignment(CellAlignment::Center)
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
            header: vec!["endpoint", "is leader"],
            rows: vec![
                vec!["a:1".to_owned(), "true".to_owned()],
                vec!["bb:2".to_owned(), "false".to_owned()],
            ],
        };
        assert_eq!(
            table.to_string(),
            "+----------+-----------+\n\
             | ENDPOINT | IS LEADER |\n\
             +----------+-----------+\n\
             |      a:1 |      true |\n\
             |     bb:2 |     false |\n\
             +----------+-----------+"
        );
    }
}
