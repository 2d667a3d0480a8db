//! The ledger on a real disk: its contract, damaged and foreign files, two processes, and `kill -9` in the middle of
//! writes.
//!
//! The other process is this very test binary, started again with [`ROLE`] set: see [`the_other_process`].

#[path = "support/contract.rs"]
mod contract;

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use holdfast_domain::{DeviceId, Fingerprint, SensorId};
use holdfast_ledger::{OpenError, RedbLedger};
use holdfast_ports::{
    ledger::{Identity, Ledger, TurnedAway},
    tokens::SecretHash,
};
use uuid::Uuid;

const ROLE: &str = "HOLDFAST_LEDGER_TEST_ROLE";
const FILE: &str = "HOLDFAST_LEDGER_TEST_FILE";

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.redb");
    (folder, path)
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let (_folder, path) = folder();
    contract::all(|| async { RedbLedger::open(&path).await.expect("a ledger") }).await;
}

/// A registration may be cut off at any moment: its token is one and the same until it has ended.
#[tokio::test]
async fn the_token_of_a_registration_is_made_once() {
    let (_folder, path) = folder();
    let [one, other] = ["one", "other"].map(SecretHash::of);
    let begin = async |key: SecretHash, token: &str| {
        let ledger = RedbLedger::open(&path).await.expect("a ledger");
        let kept = ledger.registering(key, token.into()).await;
        kept.expect("it can be written")
    };
    assert_eq!(begin(one, "first").await, "first");
    assert_eq!(begin(one, "second").await, "first");
    assert_eq!(
        begin(other, "third").await,
        "third",
        "a token is of one key alone"
    );
    assert_eq!(begin(one, "fourth").await, "fourth");

    // The identity of another token does not end it; that of its own does, together with what was before.
    let end = async |token: &str| {
        let ledger = RedbLedger::open(&path).await.expect("a ledger");
        let identity = Identity {
            token: token.into(),
            key: Some(one),
            ..contract::identity(1, 1)
        };
        ledger.set_identity(&identity).await.expect("an identity");
        let held = ledger.look().await.expect("it can be read");
        assert_eq!(held.identity, Some(identity));
        held
    };
    end("an older one").await;
    assert_eq!(begin(one, "fifth").await, "fourth");
    let ledger = RedbLedger::open(&path).await.expect("a ledger");
    ledger
        .turned_away(Some(TurnedAway::Deleted))
        .await
        .expect("a note");
    ledger.hold(&contract::target(43)).await.expect("a target");
    drop(ledger);
    let held = end("fourth").await;
    assert_eq!(held.turned_away, None);
    assert_eq!(
        held.target,
        Some(contract::target(43)),
        "the same device goes on with what it holds"
    );
    assert_eq!(begin(one, "sixth").await, "sixth");
}

#[tokio::test]
async fn its_file_is_for_its_owner_alone() {
    let (folder, path) = folder();
    drop(RedbLedger::open(&path).await.expect("a ledger"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("rights");
    drop(RedbLedger::open(&path).await.expect("a ledger"));
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let files = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(files, 1, "nothing is left beside the ledger");
}

#[tokio::test]
async fn a_thousand_notes_made_at_once_share_commits() {
    let (_folder, path) = folder();
    let ledger = std::sync::Arc::new(RedbLedger::open(&path).await.expect("a ledger"));
    let content = Fingerprint::of_bytes(b"content");
    let tasks: Vec<_> = (0..1_000)
        .map(|number| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                ledger
                    .established(SensorId(Uuid::from_u128(number)), content)
                    .await
            })
        })
        .collect();
    let before = Instant::now();
    for task in tasks {
        task.await.expect("no panic").expect("a note");
    }
    println!("1,000 notes at once took {:?}", before.elapsed());
    assert_eq!(
        ledger.begin_boot().await.expect("a boot").established.len(),
        1_000
    );
}

#[tokio::test]
async fn a_foreign_file_is_named_and_left_alone() {
    let (_folder, path) = folder();
    for content in [b"".as_slice(), b"port = 502\n", &[0; 100_000]] {
        std::fs::write(&path, content).expect("a file");
        let error = RedbLedger::open(&path).await.expect_err("no ledger");
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        assert!(
            error.to_string().contains(path.to_str().expect("text")),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).expect("a file"), content);
    }
    std::fs::remove_file(&path).expect("removed");
    let other = redb::Database::create(&path).expect("a database");
    drop(other);
    let error = RedbLedger::open(&path).await.expect_err("no ledger");
    assert!(
        error.to_string().contains("a database of another program"),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let (_folder, path) = folder();
    let ledger = RedbLedger::open(&path).await.expect("a ledger");
    ledger
        .set_identity(&contract::identity(1, 1))
        .await
        .expect("an identity");
    ledger.hold(&contract::target(1)).await.expect("a target");
    drop(ledger);
    let whole = std::fs::read(&path).expect("a file");
    for (what, bytes) in damages(&whole) {
        std::fs::write(&path, &bytes).expect("a file");
        match RedbLedger::open(&path).await {
            Err(error) => assert!(
                error.to_string().contains(path.to_str().expect("text")),
                "{what}: {error}"
            ),
            // Damage outside of what is in use does no harm: everything must still be there.
            Ok(ledger) => {
                let held = ledger.begin_boot().await.expect("a boot");
                assert_eq!(held.target, Some(contract::target(1)), "{what}");
            }
        }
    }
}

fn damages(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut damages = vec![
        ("cut in half".to_string(), whole[..whole.len() / 2].to_vec()),
        ("cut to its header".to_string(), whole[..4_096].to_vec()),
    ];
    for page in 0..whole.len() / 4_096 {
        let mut bytes = whole.to_vec();
        for byte in &mut bytes[page * 4_096 + 16..(page + 1) * 4_096] {
            *byte ^= 0x5a;
        }
        if bytes != whole && page < 40 {
            damages.push((format!("page {page} flipped"), bytes));
        }
    }
    damages
}

#[tokio::test]
async fn two_processes_at_once_are_refused() {
    let (_folder, path) = folder();
    let mut other = Other::start("hold open", &path);
    assert_eq!(other.line().as_deref(), Some("open"));
    let error = RedbLedger::open(&path).await.expect_err("in use");
    assert!(
        matches!(&error, OpenError::InUse { path: named } if *named == path),
        "{error:?}"
    );
    other.kill();
    let ledger = RedbLedger::open(&path).await.expect("free again");
    let mut other = Other::start("hold open", &path);
    let said = other.line().expect("an answer");
    assert!(
        said.contains("in use by another process") && said.contains(path.to_str().expect("text")),
        "{said}"
    );
    drop(ledger);
}

#[tokio::test]
async fn two_ledgers_in_one_process_are_refused() {
    let (_folder, path) = folder();
    let ledger = RedbLedger::open(&path).await.expect("a ledger");
    let error = RedbLedger::open(&path).await.expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(ledger);
    RedbLedger::open(&path).await.expect("free again");
}

/// Kills a writer at any instant, many times over, on the same file: whatever was acknowledged is there, nothing is half
/// there, and nothing ever goes back.
#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let (_folder, path) = folder();
    let (mut boots, mut version) = (0, 0);
    let ledger = RedbLedger::open(&path).await.expect("a ledger");
    ledger
        .set_identity(&contract::identity(1, 1))
        .await
        .expect("an identity");
    drop(ledger);
    for round in 0..12_u64 {
        let mut other = Other::start("write", &path);
        // A different number of acknowledged writes each time; the kill hits whatever comes next.
        let acknowledged: Vec<String> = std::iter::from_fn(|| other.line())
            .take((round * 7 % 23) as usize)
            .collect();
        other.kill();
        let last = |word: &str| {
            acknowledged
                .iter()
                .rev()
                .find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
        };
        let ledger = RedbLedger::open(&path).await.expect("a whole ledger");
        let held = ledger.begin_boot().await.expect("a boot");
        assert!(
            held.boot > boots && held.boot > last("boot").unwrap_or(0),
            "no two boots share a number"
        );
        boots = held.boot;
        let held_version = held.target.as_ref().map_or(0, |target| target.version);
        let known: u64 = last("held").unwrap_or(version);
        assert!(
            held_version >= known.max(version),
            "{held_version} is older than {known} and {version}"
        );
        if let Some(target) = &held.target {
            let whole = contract::target(target.version);
            assert_eq!(*target, whole, "it is whole");
            assert_eq!(held.identity, Some(contract::identity(1, 1)));
        }
        assert!(
            held.worked_version <= held_version,
            "worked through before it was held"
        );
        assert!(held.worked_version >= last("worked").unwrap_or(0));
        assert!(held.established.len() as u64 >= last("established").unwrap_or(0));
        version = held_version;
    }
    assert!(version > 0, "the writer wrote");
}

const CONFIG: redb::TableDefinition<'_, &str, &[u8]> =
    redb::TableDefinition::new("holdfast.config");
const DOCUMENTS: redb::TableDefinition<'_, &str, &[u8]> =
    redb::TableDefinition::new("holdfast.documents");

/// Where the identity of the configuration stands in [`DOCUMENTS`].
const IDENTITY: &str = "configIdentity";

/// Puts `text` in the place of what a table of the file has under `key`.
fn overwrite(
    path: &Path,
    table: redb::TableDefinition<'_, &str, &[u8]>,
    key: &str,
    text: Option<&[u8]>,
) {
    let database = redb::Database::open(path).expect("the file");
    let transaction = database.begin_write().expect("a transaction");
    {
        let mut table = transaction.open_table(table).expect("a table");
        match text {
            Some(text) => drop(table.insert(key, text).expect("written")),
            None => drop(table.remove(key).expect("removed")),
        }
    }
    transaction.commit().expect("committed");
}

/// Most of a target is its configuration: it is written when it is another, and only then.
#[tokio::test]
async fn only_what_changed_of_a_target_is_written() {
    let (_folder, path) = folder();
    let hold = async |version| {
        let ledger = RedbLedger::open(&path).await.expect("a ledger");
        let target = contract::target(version);
        ledger.hold(&target).await.expect("a target");
    };
    let look = async || {
        let ledger = RedbLedger::open(&path).await.expect("a ledger");
        ledger.look().await.map(|held| held.target)
    };
    hold(3).await;
    overwrite(&path, CONFIG, "target", Some(b"a mark"));
    hold(4).await;
    let error = look().await.expect_err("the mark stands there still");
    assert!(
        std::error::Error::source(&error)
            .is_some_and(|why| why.to_string().contains("the target in it can't be read")),
        "{error:?}"
    );
    hold(6).await;
    assert_eq!(look().await.expect("whole"), Some(contract::target(6)));
    hold(7).await;
    assert_eq!(look().await.expect("whole"), Some(contract::target(7)));
}

/// A target is never put together of two.
#[tokio::test]
async fn a_target_without_its_own_configuration_is_an_error() {
    let (_folder, path) = folder();
    let hold = async |version| {
        let ledger = RedbLedger::open(&path).await.expect("a ledger");
        let target = contract::target(version);
        ledger.hold(&target).await.expect("a target");
    };
    let why = async || {
        let ledger = RedbLedger::open(&path).await.expect("a ledger");
        let error = ledger.begin_boot().await.expect_err("half a target");
        let source = std::error::Error::source(&error).expect("a reason");
        format!("{error}: {source}")
    };
    hold(3).await;
    let other = contract::target(9).config_fingerprint().to_string();
    let own = contract::target(3).config_fingerprint().to_string();
    overwrite(&path, DOCUMENTS, IDENTITY, Some(other.as_bytes()));
    let said = why().await;
    assert!(said.contains("another one's"), "{said}");
    assert!(said.contains(path.to_str().expect("text")), "{said}");
    overwrite(&path, DOCUMENTS, IDENTITY, Some(own.as_bytes()));
    overwrite(&path, CONFIG, "target", None);
    let said = why().await;
    assert!(said.contains("its configuration is missing"), "{said}");
}

/// As it was written when a target stood in one piece.
#[tokio::test]
async fn a_target_in_one_piece_is_read() {
    let (_folder, path) = folder();
    drop(RedbLedger::open(&path).await.expect("a ledger"));
    let target = contract::target(3);
    let text = serde_json::to_vec(&target.document(contract::identity(1, 1).device));
    overwrite(&path, DOCUMENTS, "target", Some(&text.expect("JSON")));
    let ledger = RedbLedger::open(&path).await.expect("a ledger");
    let held = ledger.look().await.expect("it can be read");
    assert_eq!(held.target, Some(target));
    let next = contract::target(4);
    ledger.hold(&next).await.expect("a target");
    assert_eq!(
        ledger.look().await.expect("it can be read").target,
        Some(next)
    );
}

/// A kill in the middle of making the file leaves no half file in its place.
#[tokio::test]
async fn making_the_file_survives_kill_9() {
    for _ in 0..8 {
        let (folder, path) = folder();
        let mut other = Other::start("write", &path);
        while std::fs::read_dir(folder.path())
            .expect("a folder")
            .next()
            .is_none()
        {
            std::thread::yield_now();
        }
        other.kill();
        let held = RedbLedger::open(&path)
            .await
            .expect("a whole ledger")
            .begin_boot()
            .await
            .expect("a boot");
        assert!(held.boot > 0);
    }
}

/// Not a test of its own: what the other process does. Without a role it does nothing.
#[tokio::test]
async fn the_other_process() {
    let (Ok(role), Ok(path)) = (std::env::var(ROLE), std::env::var(FILE)) else {
        return;
    };
    let mut out = std::io::stdout();
    let mut say = move |line: String| {
        out.write_all(format!("\n> {line}\n").as_bytes())
            .and_then(|()| out.flush())
    };
    let ledger = match RedbLedger::open(&path).await {
        Ok(ledger) => ledger,
        Err(error) => return say(error.to_string()).expect("a reader"),
    };
    if role == "hold open" {
        say("open".into()).expect("a reader");
        std::future::pending::<()>().await;
    }
    let held = ledger.begin_boot().await.expect("a boot");
    say(format!("boot {}", held.boot)).expect("a reader");
    let mut version = held.target.map_or(0, |target| target.version);
    let mut noted = held.established.len() as u64;
    loop {
        version += 1;
        ledger
            .hold(&contract::target(version))
            .await
            .expect("a target");
        say(format!("held {version}")).expect("a reader");
        ledger.worked_through(version).await.expect("a note");
        say(format!("worked {version}")).expect("a reader");
        noted += 1;
        let sensor = SensorId(Uuid::from_u128(u128::from(noted)));
        ledger
            .established(sensor, Fingerprint::of_bytes(b"content"))
            .await
            .expect("a note");
        say(format!("established {noted}")).expect("a reader");
    }
}

/// The other process.
struct Other {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Other {
    fn start(role: &str, path: &Path) -> Self {
        let this = std::env::current_exe().expect("this test binary");
        let mut command = Command::new(this);
        command
            .args(["--exact", "the_other_process", "--nocapture"])
            .env(ROLE, role)
            .env(FILE, path);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// The next line that it says; `None` when it has ended.
    fn line(&mut self) -> Option<String> {
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("> ").map(str::to_string))
    }

    fn kill(&mut self) {
        // SIGKILL, on every Unix.
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an identity is made of may be worked out in another way by a later version.
#[tokio::test]
async fn a_target_whose_identity_would_be_another_today_is_read() {
    let (_folder, path) = folder();
    let target = contract::target(3);
    let ledger = RedbLedger::open(&path).await.expect("a ledger");
    ledger.hold(&target).await.expect("a target");
    drop(ledger);
    let (then, now) = (
        contract::target(9).config_fingerprint().to_string(),
        target.config_fingerprint().to_string(),
    );
    let text = serde_json::to_string(&target.changes(DeviceId(Uuid::nil())));
    let text = text.expect("JSON").replace(&now, &then);
    assert!(text.contains(&then), "{text}");
    overwrite(&path, DOCUMENTS, "target", Some(text.as_bytes()));
    overwrite(&path, DOCUMENTS, IDENTITY, Some(then.as_bytes()));
    let ledger = RedbLedger::open(&path).await.expect("a ledger");
    let held = ledger.look().await.expect("it is whole");
    assert_eq!(held.target, Some(target));
}
