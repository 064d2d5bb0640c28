//! A service with the methods that are made of others, above one without.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::steps::Steps;
use super::{election, lock, range};
use crate::api::status::unreadable;
use crate::proto::{Call, Caller, Duplex, Method, Outcome, Reply, Service, Status};

/// See the module.
pub struct Recipes {
    below: Arc<dyn Service>,
}

impl Recipes {
    pub fn new(below: Arc<dyn Service>) -> Self {
        Self { below }
    }
}

const fn is_recipe(method: Method) -> bool {
    matches!(
        method,
        Method::Lock
            | Method::Unlock
            | Method::Campaign
            | Method::Proclaim
            | Method::Leader
            | Method::Observe
            | Method::Resign
    )
}

impl Service for Recipes {
    fn call(&self, caller: &Caller, batch: Vec<Call>) {
        // Nearly every batch is none of ours, and goes through as it came.
        if !batch.iter().any(|call| is_recipe(call.method)) {
            return self.below.call(caller, batch);
        }
        let (recipes, rest): (Vec<Call>, Vec<Call>) =
            batch.into_iter().partition(|call| is_recipe(call.method));
        if !rest.is_empty() {
            self.below.call(caller, rest);
        }
        for Call { method, body, reply, .. } in recipes {
            let steps = Steps::new(Arc::clone(&self.below), caller.clone());
            tokio::spawn(serve(steps, method, body, reply));
        }
    }

    fn open(&self, caller: &Caller, method: Method, first: Bytes, stream: Duplex) {
        if !matches!(method, Method::Observe | Method::RangeStream) {
            return self.below.open(caller, method, first, stream);
        }
        let steps = Steps::new(Arc::clone(&self.below), caller.clone());
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = tell(&steps, method, first, &stream) => ended,
                () = stream.closed() => return,
            };
            stream.end(ended).await;
        });
    }
}

async fn tell(steps: &Steps, method: Method, first: Bytes, stream: &Duplex) -> Result<(), Status> {
    match method {
        Method::RangeStream => range::range(steps, decoded(method, first)?, stream).await,
        _ => election::observe(steps, decoded(method, first)?, stream).await,
    }
}

async fn serve(steps: Steps, method: Method, body: Bytes, reply: Reply) {
    let outcome = answer(&steps, method, body, &reply).await;
    reply.send(outcome);
}

async fn answer(steps: &Steps, method: Method, body: Bytes, reply: &Reply) -> Outcome {
    Ok(match method {
        Method::Lock => lock::lock(steps, decoded(method, body)?, reply).await?.encode_to_vec(),
        Method::Unlock => lock::unlock(steps, decoded(method, body)?).await?.encode_to_vec(),
        Method::Campaign => {
            election::campaign(steps, decoded(method, body)?, reply).await?.encode_to_vec()
        }
        Method::Proclaim => {
            election::proclaim(steps, decoded(method, body)?).await?.encode_to_vec()
        }
        Method::Leader => election::leader(steps, decoded(method, body)?).await?.encode_to_vec(),
        _ => election::resign(steps, decoded(method, body)?).await?.encode_to_vec(),
    }
    .into())
}

fn decoded<M: Message + Default>(method: Method, body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| unreadable(method, &error))
}
