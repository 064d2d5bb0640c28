//! How the examples find a cluster: endpoints as their first argument (`http://`, with commas), or the playground of
//! this folder (`cargo run --release -- playground`).

use std::error::Error;
use std::path::Path;

use quorate::client::{Client, ClientFiles, Config};
use quorate::config::Profile;

/// A program of your own names its endpoints and files instead.
pub(crate) async fn connect() -> Result<Client, Box<dyn Error>> {
    let config = match std::env::args().nth(1) {
        Some(endpoints) => Config::new(endpoints.split(',')),
        None => {
            let profile = Profile::read(Path::new("playground"))?
                .ok_or("no playground in this folder: start one, or name endpoints")?;
            Config::new(profile.endpoints).tls(ClientFiles {
                trusted_ca: Some(profile.cacert),
                cert: Some(profile.cert),
                key: Some(profile.key),
                ..ClientFiles::default()
            })
        }
    };
    Ok(Client::connect(config).await?)
}
