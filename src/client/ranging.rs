//! A range in pieces, all of one revision: neither a message nor the memory has to hold all of it.

use std::sync::Arc;

use prost::Message;

use super::calls::failed;
use super::link::{Link, StreamRecv};
use super::{Client, Error};
use crate::proto::Method;
use crate::proto::etcdserverpb as pb;

impl Client {
    /// Begins to read a range in pieces. Orders of its own and bounds of revisions are refused by the server.
    pub async fn range_stream(&self, request: &pb::RangeRequest) -> Result<RangeStream, Error> {
        let link = self.endpoints.link(self.deadline()).await?;
        let (mut send, recv) =
            link.stream(Method::RangeStream).await.map_err(|failure| failed(&link, failure))?;
        let request = request.encode_to_vec();
        send.send(request.into()).await.map_err(|failure| failed(&link, failure))?;
        send.finish();
        Ok(RangeStream { link, recv })
    }
}

/// A range on its way: [`RangeStream::next`] until none.
pub struct RangeStream {
    link: Arc<Link>,
    recv: StreamRecv,
}

impl RangeStream {
    /// The next piece. Header, count and whether there is more come with the last one.
    pub async fn next(&mut self) -> Result<Option<pb::RangeResponse>, Error> {
        let message = self.recv.next().await.map_err(|failure| failed(&self.link, failure))?;
        let Some(message) = message else { return Ok(None) };
        let piece = pb::RangeStreamResponse::decode(message).map_err(|error| Error::Protocol {
            endpoint: Arc::clone(&self.link.endpoint),
            what: format!("a piece of a range cannot be read: {error}"),
        })?;
        Ok(Some(piece.range_response.unwrap_or_default()))
    }
}
