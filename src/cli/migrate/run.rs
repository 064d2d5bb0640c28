//! The four commands.

use crate::cli::connect::Session;
use crate::cli::exit::Exit;
use crate::cli::stopped::Stopped;
use crate::client::Client;

use super::args::{Copy, Finish, Follow, Migrate, Origin, Users, Verify};
use super::compare::Compared;
use super::destination::{self, Destination, marked};
use super::follow::{Migration, Until, still_written};
use super::leases::Leases;
use super::mark::{Mark, State};
use super::pass::Tally;
use super::patience::patiently;
use super::source::{self, Source};
use super::users::{self, Passwords, ROOT};

impl Migrate {
    pub(in crate::cli) async fn run(self, session: &Session) -> Result<(), Exit> {
        match self {
            Self::Copy(copy) => copy.run(session).await,
            Self::Follow(follow) => follow.run(session).await,
            Self::Verify(verify) => verify.run(session).await,
            Self::Finish(finish) => finish.run(session).await,
        }
    }
}

/// Both clusters, connected to.
async fn both(origin: &Origin, session: &Session) -> Result<(Source, Client), Exit> {
    // What is wrong with the words is said before anybody is asked.
    let source = origin.session(session)?;
    origin.ops_max()?;
    let source = Source::connect(&source).await?;
    let destination = destination::connect(session).await?;
    if destination::header(&destination).await?.cluster_id == source.cluster {
        return Err(Exit::bad_args(format!(
            "--from and --endpoints name the same cluster ({:x})",
            source.cluster
        )));
    }
    Ok((source, destination))
}

impl Users {
    /// None if there is nothing to be carried.
    fn passwords(&self) -> Result<Option<Passwords>, Exit> {
        let passwords = Passwords::of_file(self.passwords.as_deref())?;
        Ok((!self.skip_users).then_some(passwords))
    }
}

impl Migration {
    fn new(
        source: Source,
        destination: Destination,
        users: Option<Passwords>,
        ops_max: usize,
    ) -> Self {
        let leases = Leases::default();
        Self { source, destination, leases, users, ops_max, users_revision: None }
    }

    /// One that has been begun.
    async fn take_up(origin: &Origin, users: &Users, session: &Session) -> Result<Self, Exit> {
        let passwords = users.passwords()?;
        let (source, client) = both(origin, session).await?;
        let taken = Destination::take_up(&client, source.cluster).await?;
        let destination = taken.ok_or_else(|| {
            Exit::error(
                "the destination holds no unfinished migration: begin with `quorate migrate copy`; or it is finished already, which `quorate migrate verify` says as long as nobody writes: then `quorate auth enable` may be what is left",
            )
        })?;
        Ok(Self::new(source, destination, passwords, origin.ops_max()?))
    }

    /// Keys, leases and users of one moment.
    async fn copy_all(&mut self, is_empty: bool) -> Result<(), Exit> {
        let Tally { revision, keys, written } = self.copy(is_empty).await?;
        let carried = self.carry_users().await;
        carried.map_err(|failure| source::exit(failure, "users"))?;
        println!(
            "Copied revision {revision} of the source: {keys} keys ({written} written now), {} leases.",
            self.leases.len()
        );
        tell_revisions(&self.destination.client, revision).await
    }

    /// Goes on until it is time, or somebody stops it, which may happen anywhere.
    async fn follow_until_stopped(&mut self, until: Until) -> Result<(), Exit> {
        let mut stopped = Stopped::listen()?;
        tokio::select! {
            followed = self.follow(until) => followed?,
            _ = stopped.next() => {
                println!("Stopped. `quorate migrate follow` goes on.");
                return Ok(());
            }
        }
        println!("Caught up at revision {} of the source.", self.written());
        Ok(())
    }
}

impl Copy {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let passwords = self.users.passwords()?;
        let (source, client) = both(&self.origin, session).await?;
        let taken = Destination::take_up(&client, source.cluster).await?;
        let is_new = taken.is_none();
        let destination = match taken {
            Some(taken) => taken,
            None => {
                if passwords.is_some() {
                    refuse_users(&client).await?;
                }
                let revision = source.revision().await;
                let revision = revision.map_err(|failure| source::exit(failure, "begin"))?;
                Destination::begin(&client, source.cluster, revision).await?
            }
        };
        let state = destination.mark.state;
        let ops_max = self.origin.ops_max()?;
        let mut migration = Migration::new(source, destination, passwords, ops_max);
        if self.follow && state == State::Following {
            let written = migration.written();
            println!("Copied already: following from revision {written} of the source.");
            return migration.follow_until_stopped(Until::Stopped).await;
        }
        if !is_new {
            let begun = migration.written();
            println!("Going on with the unfinished copy of revision {begun}.");
        }
        migration.copy_all(is_new).await?;
        match self.follow {
            true => migration.follow_until_stopped(Until::Stopped).await,
            false => Ok(()),
        }
    }
}

/// Whoever remembers a revision of the source should know whether the destination may have it again.
async fn tell_revisions(client: &Client, source: i64) -> Result<(), Exit> {
    let here = destination::header(client).await?.revision;
    if here < source {
        println!(
            "The destination is at revision {here}, which is before the source's {source}: clients that remember revisions must read anew (docs/migration.md, Revisions)."
        );
    }
    Ok(())
}

async fn refuse_users(client: &Client) -> Result<(), Exit> {
    let found = users::of_destination(client).await;
    let found = found.map_err(|failure| source::exit(failure, "users"))?;
    if found.is_empty() {
        return Ok(());
    }
    Err(Exit::error(format!(
        "the destination is not empty: it has {} users and {} roles; a migration goes to an empty cluster (only root may be there), or takes none with --skip-users",
        found.users.len(),
        found.roles.len()
    )))
}

impl Follow {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let mut migration = Migration::take_up(&self.origin, &self.users, session).await?;
        println!("Following from revision {} of the source.", migration.written());
        let until = if self.until_caught_up { Until::CaughtUp } else { Until::Stopped };
        migration.follow_until_stopped(until).await
    }
}

impl Verify {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let (source, client) = both(&self.origin, session).await?;
        let before = marked(&client).await?;
        let revision = match &before {
            Some(kv) => {
                let mark = Mark::parse(&kv.value)?;
                if mark.state == State::Copying {
                    return Err(Exit::error(
                        "the copy has not ended: go on with `quorate migrate copy` first",
                    ));
                }
                mark.revision
            }
            None => {
                let revision = source.revision().await;
                revision.map_err(|failure| source::exit(failure, "compare"))?
            }
        };
        let compared = Compared::of(&source, &client, revision, !self.skip_users).await;
        let compared = compared
            .map_err(|failure| source::exit(failure, "follow once more, and compare again"))?;
        if before != marked(&client).await? {
            return Err(Exit::error(
                "somebody has written to the destination meanwhile: stop whoever follows, and compare again",
            ));
        }
        if !compared.is_equal() {
            return Err(compared.exit("`quorate migrate copy` writes what is missing, as long as the migration is not finished"));
        }
        tell_equal(&compared);
        Ok(())
    }
}

fn tell_equal(compared: &Compared) {
    let Compared { revision, keys, leases, users, roles, .. } = compared;
    println!(
        "Equal at revision {revision} of the source: {keys} keys, {leases} leases, {users} users, {roles} roles."
    );
    if let Some(noted) = compared.noted() {
        println!("{noted}");
    }
}

impl Finish {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let passwords = self.users.passwords()?;
        if self.auth_enable && !passwords.is_some_and(|passwords| passwords.has(ROOT)) {
            return Err(Exit::bad_args(
                "--auth-enable would lock everybody out: write root's password into a file for --passwords, as `root:PASSWORD`",
            ));
        }
        let mut migration = Migration::take_up(&self.origin, &self.users, session).await?;
        if migration.destination.mark.state == State::Copying {
            return Err(Exit::error(
                "the copy has not ended: go on with `quorate migrate copy` first",
            ));
        }
        let begun = migration.source.revision().await;
        let until = Until::Quiet(begun.map_err(|failure| source::exit(failure, "finish"))?);
        migration.follow(until).await?;
        migration.users_revision = None;
        migration.carry_users().await.map_err(|failure| source::exit(failure, "users"))?;
        let (source, client) = (migration.source.clone(), migration.destination.client.clone());
        if self.auth_enable {
            has_root(&client).await?;
        }
        let with_users = migration.users.is_some();
        let written = migration.written();
        let compared = Compared::of(&source, &client, written, with_users).await;
        let compared = compared.map_err(|failure| source::exit(failure, "finish again"))?;
        if !compared.is_equal() {
            return Err(
                compared.exit("`quorate migrate copy` writes what is missing; then finish again")
            );
        }
        // What leases have ended while it was compared, say.
        migration.follow(until).await?;
        if let Some(passwords) = &migration.users {
            let set = passwords.set(&client).await;
            set.map_err(|failure| source::exit(failure, "passwords"))?;
        }
        let now = source.revision().await.map_err(|failure| source::exit(failure, "finish"))?;
        if now > migration.written() {
            return Err(still_written(migration.written(), now));
        }
        if migration.leases.are_lost() {
            return Err(Exit::error("a lease has just ended at the destination: finish again"));
        }
        // Behind it nothing can be repeated: what may fail was done before, and the rest is told how to do.
        let revision = migration.written();
        let released = migration.destination.release().await;
        let here = released.map_err(|failure| source::exit(failure, "finish"))?;
        tell_equal(&compared.at(revision));
        println!(
            "The way back begins at revision {} of the destination: `quorate make-mirror --wire grpc --rev {}`.",
            here + 1,
            here + 1
        );
        if self.auth_enable {
            let enabled = patiently(async || client.auth_enable().await).await;
            enabled.map_err(|error| {
                let what = "enable authentication (all else is finished: `quorate auth enable`)";
                destination::exit(&error, what)
            })?;
            println!("Authentication Enabled");
        }
        println!(
            "Finished: let the clients use the new cluster. Leases live on for at least two thirds of their time."
        );
        Ok(())
    }
}

/// Authentication is enabled last: it must not be refused then.
async fn has_root(client: &Client) -> Result<(), Exit> {
    let users = users::of_destination(client).await;
    match users.map_err(|failure| source::exit(failure, "users"))?.have_root() {
        true => Ok(()),
        false => Err(Exit::error(
            "--auth-enable needs a user root with the role root, and neither side has one: do what is missing of `quorate user add root`, `quorate role add root` and `quorate user grant-role root root` at the destination, then finish again",
        )),
    }
}
