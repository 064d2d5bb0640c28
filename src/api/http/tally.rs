//! What the door counts: calls by method, by how they ended and, if it is told to, by how long they took; checks by their
//! outcome, bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exposition::{Exposition, Kind};
use crate::base::meter::{Counter, Histogram};
use crate::base::{Clock, Moment};
use crate::proto::{Code, Method, Shape};

/// gRPC's codes, 0 to 16.
const CODES: u16 = 17;

/// Names of a client's API that are told apart; the rest is counted together.
const VERSIONS_MAX: usize = 32;

/// Bounds of the time that a call takes: from a millisecond to 16 seconds.
const BOUNDS: usize = 15;

/// See the module. Since the start of the process.
pub(super) struct Tally {
    /// None: calls are not timed.
    clock: Option<Arc<dyn Clock>>,
    methods: BTreeMap<Method, OfMethod>,
    /// (type, `client-api-version`).
    requests: Mutex<BTreeMap<(&'static str, String), u64>>,
    /// (type, name, whether it succeeded): the last one is the gauge.
    checks: Mutex<BTreeMap<(&'static str, &'static str), OfCheck>>,
    pub healthy: Counter,
    pub unhealthy: Counter,
    pub bytes_received: Counter,
    pub bytes_sent: Counter,
}

#[derive(Debug)]
pub(super) struct OfMethod {
    pub started: Counter,
    pub received: Counter,
    pub sent: Counter,
    handled: Vec<Counter>,
    took: Histogram,
}

/// A call that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub method: Method,
    at: Option<Moment>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfCheck {
    is_well: bool,
    well: u64,
    ill: u64,
}

impl Tally {
    /// With a clock it times calls.
    pub(super) fn new(clock: Option<Arc<dyn Clock>>) -> Self {
        let of_method = || OfMethod {
            started: Counter::default(),
            received: Counter::default(),
            sent: Counter::default(),
            handled: (0..CODES).map(|_| Counter::default()).collect(),
            took: Histogram::new(Duration::from_millis(1), BOUNDS),
        };
        Self {
            clock,
            methods: Method::ALL.iter().map(|&method| (method, of_method())).collect(),
            requests: Mutex::default(),
            checks: Mutex::default(),
            healthy: Counter::default(),
            unhealthy: Counter::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
        }
    }

    /// Every method has its own from the start.
    pub(super) fn started(&self, method: Method) -> Begun {
        self.with(method, |of| of.started.increment());
        Begun { method, at: self.clock.as_ref().map(|clock| clock.now()) }
    }

    pub(super) fn received(&self, method: Method, bytes: usize) {
        self.with(method, |of| of.received.increment());
        self.bytes_received.add(bytes as u64);
    }

    pub(super) fn sent(&self, method: Method, bytes: usize) {
        self.with(method, |of| of.sent.increment());
        self.bytes_sent.add(bytes as u64);
    }

    /// To its end; called once for each that has begun.
    pub(super) fn handled(&self, begun: Begun, code: Code) {
        self.with(begun.method, |of| {
            if let Some(counter) = of.handled.get(usize::from(code.number())) {
                counter.increment();
            }
            if let (Some(clock), Some(at)) = (&self.clock, begun.at) {
                of.took.observe(clock.now() - at);
            }
        });
    }

    fn with(&self, method: Method, count: impl FnOnce(&OfMethod)) {
        if let Some(of) = self.methods.get(&method) {
            count(of);
        }
    }

    /// A call of a client that says which API it was written for, or nothing.
    pub(super) fn request(&self, shape: Shape, version: &str) {
        let kind = if shape == Shape::Unary { "unary" } else { "stream" };
        let version = if version.is_empty() { "unknown" } else { version };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = requests.len() >= VERSIONS_MAX;
        let mut key = (kind, version.to_owned());
        if is_full && !requests.contains_key(&key) {
            "other".clone_into(&mut key.1);
        }
        *requests.entry(key).or_default() += 1;
    }

    pub(super) fn checked(&self, kind: &'static str, name: &'static str, is_well: bool) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let check = checks.entry((kind, name)).or_default();
        check.is_well = is_well;
        *(if is_well { &mut check.well } else { &mut check.ill }) += 1;
    }

    pub(super) fn write(&self, page: &mut Exposition) {
        self.write_methods(page);
        page.counter(
            "etcd_network_client_grpc_received_bytes_total",
            "Bytes of messages from clients over gRPC.",
            self.bytes_received.value(),
        );
        page.counter(
            "etcd_network_client_grpc_sent_bytes_total",
            "Bytes of messages to clients over gRPC.",
            self.bytes_sent.value(),
        );
        let name = "etcd_server_client_requests_total";
        page.family(name, Kind::Counter, "Calls by the API version that their client names.");
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for ((kind, version), count) in &requests {
            page.sample(name, &[("client_api_version", version), ("type", kind)], count);
        }
        page.counter(
            "etcd_server_health_success",
            "Good answers at /health.",
            self.healthy.value(),
        );
        page.counter(
            "etcd_server_health_failures",
            "Bad answers at /health.",
            self.unhealthy.value(),
        );
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = "etcd_server_healthcheck";
        page.family(name, Kind::Gauge, "How each check of /livez and /readyz ended last.");
        for ((kind, check), of) in &checks {
            page.sample(name, &[("name", check), ("type", kind)], u8::from(of.is_well));
        }
        let name = "etcd_server_healthchecks_total";
        page.family(name, Kind::Counter, "Checks of /livez and /readyz.");
        for ((kind, check), of) in &checks {
            for (status, count) in [("success", of.well), ("error", of.ill)] {
                let labels = [("name", *check), ("status", status), ("type", *kind)];
                page.sample(name, &labels, count);
            }
        }
    }

    fn write_methods(&self, page: &mut Exposition) {
        type Reading = fn(&OfMethod) -> &Counter;
        let families: [(&str, &str, Reading); 3] = [
            ("grpc_server_started_total", "Calls that began.", |of| &of.started),
            ("grpc_server_msg_received_total", "Messages received.", |of| &of.received),
            ("grpc_server_msg_sent_total", "Messages sent.", |of| &of.sent),
        ];
        for (name, help, reading) in families {
            page.family(name, Kind::Counter, help);
            for (method, of) in &self.methods {
                page.sample(name, &labels(*method), reading(of).value());
            }
        }
        let name = "grpc_server_handled_total";
        page.family(name, Kind::Counter, "Calls that ended, by how.");
        for (method, of) in &self.methods {
            let [kind, service, method] = labels(*method);
            for (number, count) in (0..).zip(&of.handled) {
                let code = ("grpc_code", Code::from_number(number).name());
                page.sample(name, &[code, method, service, kind], count.value());
            }
        }
        if self.clock.is_some() {
            let name = "grpc_server_handling_seconds";
            page.family(name, Kind::Histogram, "Seconds from the begin of a call to its end.");
            for (method, of) in &self.methods {
                page.buckets(name, &labels(*method), &of.took);
            }
        }
    }
}

/// Type, service, method.
fn labels(method: Method) -> [(&'static str, &'static str); 3] {
    let kind = match method.shape() {
        Shape::Unary => "unary",
        Shape::ServerStream => "server_stream",
        Shape::Duplex => "bidi_stream",
    };
    let (service, name) = method.path().split_once('/').unwrap_or_default();
    [("grpc_type", kind), ("grpc_service", service), ("grpc_method", name)]
}
