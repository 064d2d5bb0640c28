//! Prometheus' text format: one family of samples after the other.

use std::fmt::{Display, Write as _};

use crate::base::meter::Histogram;

/// A page of metrics.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// What a family is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Exposition {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (place, (label, said)) in labels.iter().enumerate() {
            self.text.push(if place == 0 { '{' } else { ',' });
            let said = said.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            self.put(format_args!("{label}=\"{said}\""));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    /// A family of one sample.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, Kind::Counter, help);
        self.sample(name, &[], value);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, Kind::Histogram, help);
        self.buckets(name, &[], histogram);
    }

    /// A family of one histogram whose name says that it counts milliseconds.
    pub(super) fn milliseconds(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, Kind::Histogram, help);
        self.scaled(name, &[], histogram, 1_000.0);
    }

    /// One histogram of a family, in seconds.
    pub(super) fn buckets(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        self.scaled(name, labels, histogram, 1.0);
    }

    /// With so many units in a second.
    fn scaled(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram, units: f64) {
        let bucket = format!("{name}_bucket");
        fn with<'a>(labels: &[(&'a str, &'a str)], bound: &'a str) -> Vec<(&'a str, &'a str)> {
            [labels, &[("le", bound)]].concat()
        }
        for (bound, count) in histogram.buckets() {
            let bound = (bound.as_secs_f64() * units).to_string();
            self.sample(&bucket, &with(labels, &bound), count);
        }
        let count = histogram.count();
        self.sample(&bucket, &with(labels, "+Inf"), count);
        self.sample(&format!("{name}_sum"), labels, histogram.sum().as_secs_f64() * units);
        self.sample(&format!("{name}_count"), labels, count);
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.put(text);
        self.text.push('\n');
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a String does not fail.
        let _ = self.text.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut page = Exposition::default();
        page.counter("a_total", "How many.", 3);
        page.family("b", Kind::Gauge, "What.");
        page.sample("b", &[("x", "1"), ("y", "a\"b\\c")], 0.5);
        let histogram = Histogram::new(Duration::from_millis(1), 2);
        histogram.observe(Duration::from_millis(2));
        page.histogram("c", "How long.", &histogram);
        page.milliseconds("d", "How long.", &histogram);
        let expected = "# HELP a_total How many.\n# TYPE a_total counter\na_total 3\n\
             # HELP b What.\n# TYPE b gauge\nb{x=\"1\",y=\"a\\\"b\\\\c\"} 0.5\n\
             # HELP c How long.\n# TYPE c histogram\nc_bucket{le=\"0.001\"} 0\nc_bucket{le=\"0.002\"} 1\n\
             c_bucket{le=\"+Inf\"} 1\nc_sum 0.002\nc_count 1\n\
             # HELP d How long.\n# TYPE d histogram\nd_bucket{le=\"1\"} 0\nd_bucket{le=\"2\"} 1\n\
             d_bucket{le=\"+Inf\"} 1\nd_sum 2\nd_count 1\n";
        assert_eq!(page.into_text(), expected);
    }
}
