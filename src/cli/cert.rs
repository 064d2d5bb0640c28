//! `quorate cert`: makes authorities and certificates for members and clients, and says what a certificate is.
//!
//! Keys are 0600 and nothing is overwritten without `--force`. It needs no running member and touches no network.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::base::{Clock, ClusterId, MemberId, SystemClock};
use crate::tls::make::{self, Authority, Made, Subject, Validity};
use crate::tls::{self, Description};

const DAY_MS: i64 = 86_400_000;

const AUTHORITY_NAME: &str = "Quorate CA";
const AUTHORITY_DAYS: u32 = 3_650;

/// Makes and shows certificates.
#[derive(Args, Clone, Debug)]
pub(super) struct CertArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Makes a certificate authority: DIR/ca.crt and DIR/ca.key
    Ca {
        #[command(flatten)]
        place: Place,
        /// Its common name
        #[arg(long, default_value = AUTHORITY_NAME)]
        name: String,
        /// The files' name, without extension
        #[arg(long, default_value = "ca", value_name = "NAME")]
        file: String,
        /// How long it lives
        #[arg(long, default_value_t = AUTHORITY_DAYS, value_parser = days())]
        days: u32,
    },
    /// Makes a member's certificate towards other members: DIR/peer-NAME.crt and .key
    Peer {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        hosts: Hosts,
        /// Binds it to one member, with --member: the cluster's id, hexadecimal
        #[arg(long, requires = "member", value_name = "ID")]
        cluster: Option<ClusterId>,
        /// Binds it to one member, with --cluster: the member's id, hexadecimal
        #[arg(long, requires = "cluster", value_name = "ID")]
        member: Option<MemberId>,
    },
    /// Makes a member's certificate towards clients: DIR/server-NAME.crt and .key
    Server {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        hosts: Hosts,
    },
    /// Makes a client's certificate: DIR/client-NAME.crt and .key; NAME is the user it is
    Client {
        #[command(flatten)]
        who: Who,
    },
    /// Makes all that a cluster needs, and keeps what is there: an authority, both certificates of each member, client-root
    Cluster {
        /// The members; each one's name is also a host that it is dialled by
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        hosts: Hosts,
        #[arg(long, default_value = "certs", value_name = "DIR")]
        dir: PathBuf,
        /// How long they live; the authority lives for ten years
        #[arg(long, default_value_t = 365, value_parser = days())]
        days: u32,
    },
    /// Writes the list of certificates that are not to be believed any more (crl-file)
    Revoke {
        /// Every revoked certificate that has not ended: the list replaces the one before; none: an empty list
        #[arg(value_name = "CERT")]
        certs: Vec<PathBuf>,
        #[command(flatten)]
        signer: Signer,
        #[arg(long, default_value = "certs", value_name = "DIR")]
        dir: PathBuf,
        /// How long the list counts; beyond it nobody is believed
        #[arg(long, default_value_t = 365, value_parser = days())]
        days: u32,
    },
    /// Shows what certificates are, and what they may be used for
    Show {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Args, Clone, Debug)]
struct Place {
    /// Where the files go
    #[arg(long, default_value = "certs", value_name = "DIR")]
    dir: PathBuf,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

#[derive(Args, Clone, Debug)]
struct Signer {
    /// The authority that signs [default: DIR/ca.crt]
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Its key [default: DIR/ca.key]
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
struct Who {
    /// The common name
    name: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    signer: Signer,
    /// How long it lives
    #[arg(long, default_value_t = 365, value_parser = days())]
    days: u32,
}

#[derive(Args, Clone, Debug)]
struct Hosts {
    /// Names and addresses it is dialled by, comma-separated or repeated
    #[arg(
        long = "host",
        value_name = "HOST,...",
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1,::1"
    )]
    hosts: Vec<String>,
}

/// What went wrong, with the file it is about.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("{0}")]
    Name(String),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// Does what was asked, and tells `out` about it.
pub(super) fn run(args: CertArgs, out: &mut dyn Write) -> Result<(), Error> {
    let wall_ms = SystemClock::new().wall_ms();
    match args.command {
        Command::Ca { place, name, file, days } => {
            authority(&place, &name, &file, Validity { wall_ms, days }, out)
        }
        Command::Peer { who, hosts, cluster, member } => {
            let member = cluster.zip(member);
            let subject = Subject { common_name: who.name.clone(), hosts: hosts.hosts, member };
            issue(&who, "peer", &subject, wall_ms, make::peer, out)
        }
        Command::Server { who, hosts } => {
            let subject =
                Subject { common_name: who.name.clone(), hosts: hosts.hosts, member: None };
            issue(&who, "server", &subject, wall_ms, make::server, out)
        }
        Command::Client { who } => {
            let subject = Subject { common_name: who.name.clone(), ..Subject::default() };
            issue(&who, "client", &subject, wall_ms, make::client, out)
        }
        Command::Cluster { names, hosts, dir, days } => {
            cluster(&names, &hosts.hosts, &dir, Validity { wall_ms, days }, out)
        }
        Command::Revoke { certs, signer, dir, days } => {
            revoke(&certs, &signer, &dir, Validity { wall_ms, days }, out)
        }
        Command::Show { files } => files.iter().try_for_each(|file| show(file, wall_ms, out)),
    }
}

fn authority(
    place: &Place,
    name: &str,
    file: &str,
    validity: Validity,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let authority = make::authority(name, validity)?;
    let (cert, key) = write(place, file, &authority.made, out)?;
    writeln!(out, "It signs with `quorate cert peer|server|client`.")?;
    writeln!(out, "Everybody gets {}; keep {} to yourself.", cert.display(), key.display())?;
    Ok(())
}

/// Made to be repeated: by whoever starts the containers again, or adds a member.
fn cluster(
    names: &[String],
    hosts: &[String],
    dir: &Path,
    validity: Validity,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let is_there = |stem: &str| {
        let pair = [dir.join(format!("{stem}.crt")), dir.join(format!("{stem}.key"))];
        pair.iter().all(|file| file.exists())
    };
    let place = Place { dir: dir.to_owned(), force: false };
    if is_there("ca") {
        writeln!(out, "Kept {}.", dir.join("ca.crt").display())?;
    } else {
        let ten_years = Validity { days: AUTHORITY_DAYS, ..validity };
        authority(&place, AUTHORITY_NAME, "ca", ten_years, out)?;
    }
    let signer = Signer { ca_cert: None, ca_key: None };
    let one = |kind: &str, name: &str, make: Make, out: &mut dyn Write| {
        let stem = format!("{kind}-{name}");
        if is_there(&stem) {
            return Ok(writeln!(out, "Kept {}.", dir.join(format!("{stem}.crt")).display())?);
        }
        let (place, signer) = (place.clone(), signer.clone());
        let who = Who { name: name.to_owned(), place, signer, days: validity.days };
        let mut subject = Subject { common_name: name.to_owned(), ..Subject::default() };
        if kind != "client" {
            subject.hosts = std::iter::once(name)
                .chain(hosts.iter().map(String::as_str))
                .map(str::to_owned)
                .collect();
        }
        issue(&who, kind, &subject, validity.wall_ms, make, out)
    };
    for name in names {
        one("peer", name, make::peer, out)?;
        one("server", name, make::server, out)?;
    }
    one("client", "root", make::client, out)
}

type Make = fn(&Authority, &Subject, Validity) -> Result<Made, tls::Error>;

fn issue(
    who: &Who,
    kind: &str,
    subject: &Subject,
    wall_ms: i64,
    make: Make,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let (authority, ca) = signer(&who.signer, &who.place.dir)?;
    let made = make(&authority, subject, Validity { wall_ms, days: who.days })?;
    let (cert, key) = write(&who.place, &format!("{kind}-{}", who.name), &made, out)?;
    if !subject.hosts.is_empty() {
        writeln!(out, "It is good for {}.", subject.hosts.join(", "))?;
    }
    let (cert, key, ca) = (cert.display(), key.display(), ca.display());
    let flags = match kind {
        "peer" => {
            format!("--peer-cert-file {cert} --peer-key-file {key} --peer-trusted-ca-file {ca}")
        }
        "server" => {
            format!("--cert-file {cert} --key-file {key} --trusted-ca-file {ca} --client-cert-auth")
        }
        _ => format!("--cert {cert} --key {key} --cacert {ca}"),
    };
    writeln!(out, "Use it with {flags}")?;
    Ok(())
}

fn signer(signer: &Signer, dir: &Path) -> Result<(Authority, PathBuf), Error> {
    let cert = signer.ca_cert.clone().unwrap_or_else(|| dir.join("ca.crt"));
    let key = signer.ca_key.clone().unwrap_or_else(|| dir.join("ca.key"));
    if !cert.exists() {
        let cert = cert.display();
        let text = format!("{cert}: there is no authority yet: `quorate cert ca` makes one");
        return Err(Error::Name(text));
    }
    Ok((Authority::read(&cert, &key)?, cert))
}

fn write(
    place: &Place,
    stem: &str,
    made: &Made,
    out: &mut dyn Write,
) -> Result<(PathBuf, PathBuf), Error> {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_.@".contains(it);
    if stem.is_empty() || stem.starts_with('.') || !stem.chars().all(plain) {
        return Err(Error::Name(format!(
            "{stem:?} cannot be the name of a file: letters, digits and -_.@ can"
        )));
    }
    let (cert, key) = made.write(&place.dir, stem, place.force)?;
    writeln!(out, "Wrote {} and its private key {}.", cert.display(), key.display())?;
    Ok((cert, key))
}

fn revoke(
    certs: &[PathBuf],
    by: &Signer,
    dir: &Path,
    validity: Validity,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let (authority, _) = signer(by, dir)?;
    let mut revoked = Vec::new();
    for cert in certs {
        revoked.extend(tls::certificates(cert)?);
    }
    let list = make::revocation_list(&authority, &revoked, validity)?;
    let path = dir.join("ca.crl");
    // Beside, then renamed: a member may be reading it.
    let fresh = dir.join("ca.crl.new");
    std::fs::write(&fresh, list).and_then(|()| std::fs::rename(&fresh, &path))?;
    writeln!(out, "Wrote {}: {} certificates are revoked.", path.display(), revoked.len())?;
    writeln!(out, "Use it with --peer-crl-file or --client-crl-file.")?;
    Ok(())
}

fn show(file: &Path, wall_ms: i64, out: &mut dyn Write) -> Result<(), Error> {
    for certificate in tls::certificates(file)? {
        let shown = Description::of(&certificate)
            .map_err(|what| tls::Error::File { path: file.to_owned(), what })?;
        let addresses = shown.addresses.iter().map(ToString::to_string);
        let names: Vec<String> = shown
            .dns_names
            .iter()
            .cloned()
            .chain(addresses)
            .chain(shown.uris.iter().cloned())
            .collect();
        writeln!(out, "{}", file.display())?;
        writeln!(out, "  subject   {}", shown.subject)?;
        writeln!(out, "  issuer    {}", shown.issuer)?;
        writeln!(out, "  names     {}", or_none(&names.join(", ")))?;
        writeln!(out, "  usage     {}", usage(&shown))?;
        writeln!(out, "  good for  {}", good_for(&shown))?;
        writeln!(out, "  from      {}", shown.not_before)?;
        writeln!(out, "  until     {} ({})", shown.not_after, left(&shown, wall_ms))?;
        writeln!(out, "  serial    {}", shown.serial)?;
        writeln!(out, "  SHA-256   {}", shown.fingerprint)?;
    }
    Ok(())
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn usage(shown: &Description) -> &'static str {
    match (shown.usage_stated, shown.server_auth, shown.client_auth) {
        (false, _, _) => "not stated",
        (true, true, true) => "serverAuth, clientAuth",
        (true, true, false) => "serverAuth",
        (true, false, true) => "clientAuth",
        (true, false, false) => "neither serverAuth nor clientAuth",
    }
}

fn good_for(shown: &Description) -> &'static str {
    if shown.authority {
        return "signing other certificates (trusted-ca-file, --cacert)";
    }
    match (shown.usage_stated, shown.server_auth, shown.client_auth) {
        (false, _, _) => "clients and servers, but not for members: they need both usages stated",
        (true, true, true) => "a member towards members (peer-cert-file); a server; a client",
        (true, true, false) => "a member towards clients (cert-file)",
        (true, false, true) => "a client (--cert)",
        (true, false, false) => "nothing here",
    }
}

fn left(shown: &Description, wall_ms: i64) -> String {
    if wall_ms < shown.not_before_ms {
        return "NOT YET VALID".into();
    }
    match shown.not_after_ms - wall_ms {
        ended if ended < 0 => "ENDED".into(),
        left => format!("{} days left", left / DAY_MS),
    }
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        cert: CertArgs,
    }

    fn cert(dir: &Path, words: &str) -> Result<String, String> {
        let dir = dir.display().to_string();
        let words = words.replace("DIR", &dir);
        let line = std::iter::once("cert").chain(words.split_whitespace());
        let program = Program::try_parse_from(line).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        run(program.cert, &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap().replace(&dir, "DIR"))
    }

    #[test]
    fn each_kind_is_made_and_shown_for_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let run = |words: &str| cert(dir.path(), words).unwrap();
        assert!(
            run("ca --dir DIR").starts_with("Wrote DIR/ca.crt and its private key DIR/ca.key.")
        );
        let peer = run("peer n1 --dir DIR --host n1.example.com,10.0.0.1 --cluster c1 --member 2a");
        assert!(peer.contains("--peer-cert-file DIR/peer-n1.crt"), "{peer}");
        run("server n1 --dir DIR");
        run("client root --dir DIR --days 10");
        let shown = run("show DIR/ca.crt DIR/peer-n1.crt DIR/server-n1.crt DIR/client-root.crt");
        let lines = [
            "good for  signing other certificates",
            "names     n1.example.com, 10.0.0.1, quorate://c1/2a",
            "good for  a member towards members",
            "names     localhost, 127.0.0.1, ::1",
            "good for  a member towards clients",
            "subject   CN=root",
            "good for  a client",
            "(9 days left)",
        ];
        let mut rest = shown.as_str();
        for line in lines {
            let found = rest.find(line);
            assert!(found.is_some(), "{line:?} is missing, or out of order, in\n{shown}");
            rest = &rest[found.unwrap()..];
        }
    }

    #[test]
    fn a_cluster_is_made_once_and_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let run = |words: &str| cert(dir.path(), words).unwrap();
        let made = run("cluster n1 n2 --dir DIR --host 10.0.0.1");
        assert!(made.contains("It is good for n2, 10.0.0.1."), "{made}");
        assert_eq!(made.matches("Wrote").count(), 6, "{made}");
        let key = std::fs::read(dir.path().join("peer-n1.key")).unwrap();
        let more = run("cluster n1 n2 n3 --dir DIR");
        assert_eq!((more.matches("Kept").count(), more.matches("Wrote").count()), (6, 2), "{more}");
        assert_eq!(std::fs::read(dir.path().join("peer-n1.key")).unwrap(), key);
        // Half of a pair is not to be trusted and not to be overwritten.
        std::fs::remove_file(dir.path().join("peer-n1.key")).unwrap();
        let error = cert(dir.path(), "cluster n1 --dir DIR").unwrap_err();
        assert!(error.contains("peer-n1.crt") && error.contains("--force"), "{error}");
    }

    #[test]
    fn keys_are_private_and_nothing_is_overwritten_unasked() {
        let dir = tempfile::tempdir().unwrap();
        cert(dir.path(), "ca --dir DIR").unwrap();
        let key = dir.path().join("ca.key");
        let before = std::fs::read(&key).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let error = cert(dir.path(), "ca --dir DIR").unwrap_err();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(std::fs::read(&key).unwrap(), before);
        cert(dir.path(), "ca --dir DIR --force").unwrap();
        assert_ne!(std::fs::read(&key).unwrap(), before);
    }

    #[test]
    fn mistakes_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = |words: &str| cert(dir.path(), words).unwrap_err();
        assert!(error("client root --dir DIR").contains("`quorate cert ca` makes one"));
        cert(dir.path(), "ca --dir DIR").unwrap();
        assert!(error("client ../root --dir DIR").contains("name of a file"));
        assert!(error("peer n1 --dir DIR --host not_a/host").contains("neither a host name"));
        assert!(error("peer n1 --dir DIR --cluster c1").contains("--member"));
        assert!(error("show DIR/ca.key").contains("holds no certificate"));
        assert!(error("show DIR/nothing").contains("No such file"));
        assert!(error("client root --dir DIR --days 0").contains("days"));
    }

    #[test]
    fn a_list_revokes_what_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let run = |words: &str| cert(dir.path(), words).unwrap();
        run("ca --dir DIR");
        run("client root --dir DIR");
        assert!(run("revoke --dir DIR").starts_with("Wrote DIR/ca.crl: 0 "));
        assert!(run("revoke DIR/client-root.crt --dir DIR").starts_with("Wrote DIR/ca.crl: 1 "));
    }
}
