//! What a start would find to be wrong before it opens anything.

use crate::storage::DataDir;
use crate::tls::Keychain;

use super::bootstrap::own_entry;
use super::config::{Config, ProxyMode};
use super::error::Error;
use super::founding::{resolve, written};
use super::proxy::Proxy;

/// Every mistake that can be seen without writing a file or asking anybody: the certificate files are read, and the
/// roster is compared with this member, where its data directory does not say who it is. DNS is asked for hosts that are
/// written in two ways, and not for a cluster.
pub fn check(config: &Config) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Err(error) = Keychain::load(config.keychain.there()) {
        errors.push(error.into());
    }
    let is_proxy = config.proxy.mode != ProxyMode::Off || Proxy::lives_in(&config.data_dir);
    if DataDir::holds_a_member(&config.data_dir) {
        return errors;
    }
    if let Some(meeting) = &config.meeting {
        errors.extend(meeting.check().err().map(Error::from));
    } else if config.srv.is_none() && !is_proxy {
        let (roster, advertised) = (written(config), &config.advertise_peer_urls);
        if let Err(error) = own_entry(&roster, &config.name, advertised, &resolve(config.resolver))
        {
            errors.push(error);
        }
    }
    errors
}
