//! How many commits of a report a second, beside what the server can do at all: `cargo run --release -p
//! holdfast-store-postgres --example commit_bench -- [SECONDS]`.
//!
//! Starts a durable server of its own, unless `HOLDFAST_TEST_POSTGRES` names one. Four rounds, alternating: pgbench with 32 clients, each writing one row with a
//! document of 2 kB a transaction; and 32 tasks, each committing what a report changes where one of ten sensors has
//! failed or recovered: the report's document, one row of the read model, one or two events.

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use holdfast_domain::{
    event::EventKind,
    state::{Change, DeviceState},
};
use holdfast_ports::store::DeviceStore;
use holdfast_store_postgres::{PostgresOptions, PostgresStore, migrate};
use holdfast_testkit::{
    builders::modbus_document,
    postgres::{TestCluster, URL_VAR},
    world::{FakeAgent, World},
};

const CLIENTS: usize = 32;
const DEVICES: usize = 320;
const SENSORS: usize = 10;

const DURABLE: [(&str, &str); 4] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("max_wal_size", "8GB"),
];

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let seconds: u64 = env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let cluster = match env::var(URL_VAR) {
        Ok(url) => TestCluster::at(&url),
        Err(_) => TestCluster::start_with(&DURABLE)?,
    };
    let limit = Limit::prepare(&cluster)?;
    let url = cluster.fresh_database()?;
    migrate(&url).await?;
    let mut options = PostgresOptions::new(&url);
    options.connections = CLIENTS as u32;
    let store = Arc::new(PostgresStore::connect(&options).await?);
    let mut players = Vec::new();
    for index in 0..DEVICES {
        players.push(Player::new(&store, index).await?);
    }
    println!(
        "the report's document has {} bytes",
        players[0].document_bytes()
    );
    for round in 1..=2 {
        let bare = limit.run(seconds)?;
        println!("round {round}: pgbench, one-row upserts of 2 kB: {bare:.0}/s");
        let (back, rate, slowest) = commits(&store, players, seconds).await?;
        players = back;
        println!(
            "round {round}: commits of a report: {rate:.0}/s, p99 {slowest:?}; ratio {:.2}",
            rate / bare
        );
    }
    Ok(())
}

/// Commits as fast as it goes; gives the players back, the rate and the time that 99 % stay under.
async fn commits(
    store: &Arc<PostgresStore>,
    mut players: Vec<Player>,
    seconds: u64,
) -> Result<(Vec<Player>, f64, Duration)> {
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    while !players.is_empty() {
        let mut mine = players.split_off(players.len() - DEVICES / CLIENTS);
        let store = store.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            for index in (0..mine.len()).cycle() {
                let began = Instant::now();
                if began >= end {
                    break;
                }
                mine[index].commit(&store).await?;
                times.push(began.elapsed());
            }
            Ok::<_, Box<dyn Error + Send + Sync>>((mine, times))
        });
    }
    let mut times = Vec::new();
    while let Some(result) = tasks.join_next().await {
        let (mine, some) = result??;
        players.extend(mine);
        times.extend(some);
    }
    times.sort_unstable();
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    Ok((players, rate, times[times.len() * 99 / 100]))
}

/// A device whose one sensor fails and recovers, again and again.
struct Player {
    /// What fails, and what recovers, as the domain decided it once.
    changes: [Change; 2],
    next: usize,
    revision: u64,
    last_event: u64,
}

impl Player {
    async fn new(store: &PostgresStore, index: usize) -> Result<Self> {
        let world = World::new(index as u64);
        let state = world.device(&format!("gateway-{index}"));
        let mut state = DeviceState { ..state };
        let event = world.event(&state, EventKind::DeviceCreated);
        store.create(&state, &[event]).await?;
        state = store
            .load(state.record.id)
            .await?
            .ok_or("the device is gone")?;
        for sensor in 0..SENSORS {
            let mut document = modbus_document(&format!("s-{sensor}"), "10.0.0.5", 502);
            // Some 2 kB in all, as much as the limit writes.
            document["dataPoints"] = serde_json::json!([]);
            document["metadata"] = serde_json::json!({});
            let change = world.add(&state, document);
            store.commit(&change).await?;
            state = state.after(change);
        }
        let mut agent = FakeAgent::of(&state);
        let now = world.context("agent").now;
        let one = [state.target.items[0].sensor.id()];
        let mut decided = |failing: &[_]| -> Result<Change> {
            agent.establish_but(&state, failing, now);
            let change = world
                .report(&state, agent.full_report())
                .ok_or("expected a change")?;
            state = state.after(change.clone());
            Ok(change)
        };
        let first = decided(&[])?;
        let changes = [decided(&one)?, decided(&[])?];
        store.commit(&first).await?;
        let revision = changes[0].base_revision;
        let last_event = changes[0].events[0].sequence - 1;
        assert!(
            changes
                .iter()
                .all(|change| change.upserts.len() == 1 && change.target.is_none())
        );
        Ok(Self {
            changes,
            next: 0,
            revision,
            last_event,
        })
    }

    async fn commit(&mut self, store: &PostgresStore) -> Result<()> {
        let change = &mut self.changes[self.next];
        change.base_revision = self.revision;
        for (offset, event) in change.events.iter_mut().enumerate() {
            event.sequence = self.last_event + offset as u64 + 1;
        }
        store.commit(change).await?;
        self.revision += 1;
        self.last_event += change.events.len() as u64;
        self.next = 1 - self.next;
        Ok(())
    }

    fn document_bytes(&self) -> usize {
        let reported = self.changes[0]
            .reported
            .as_ref()
            .expect("it is a report's change");
        holdfast_domain::document::target::config_to_json(&reported.running)
            .to_string()
            .len()
    }
}

/// What the server can do at all.
struct Limit {
    url: String,
    script: tempfile::NamedTempFile,
}

impl Limit {
    fn prepare(cluster: &TestCluster) -> Result<Self> {
        let url = cluster.fresh_database()?;
        let database = url.rsplit('/').next().ok_or("a URL without a database")?;
        cluster.psql(
            database,
            &[
                "-c",
                "CREATE TABLE bench (id integer PRIMARY KEY, document jsonb)",
            ],
        )?;
        let script = tempfile::NamedTempFile::new()?;
        // Varied enough that it does not compress to nothing.
        let members: Vec<String> = (0..55)
            .map(|n| format!(r#""key-{n}": "value-{:016x}""#, n * 0x9E37_79B9_u64 * 7919))
            .collect();
        let document = format!("{{{}}}", members.join(", "));
        println!("pgbench's document has {} bytes", document.len());
        fs::write(
            script.path(),
            format!(
                "\\set id random(1, {DEVICES})\nINSERT INTO bench VALUES (:id, '{document}') \
                ON CONFLICT (id) DO UPDATE SET document = excluded.document;\n"
            ),
        )?;
        Ok(Self { url, script })
    }

    /// Transactions a second.
    fn run(&self, seconds: u64) -> Result<f64> {
        let program = newest_pgbench().unwrap_or_else(|| "pgbench".to_owned());
        let clients = CLIENTS.to_string();
        let output = Command::new(program)
            .args([
                "-n",
                "-M",
                "prepared",
                "-c",
                &clients,
                "-j",
                "2",
                "-T",
                &seconds.to_string(),
                "-f",
            ])
            .arg(self.script.path())
            .arg(&self.url)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.ok_or_else(|| {
            format!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)).into()
        })
    }
}

fn newest_pgbench() -> Option<String> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let programs = versions
        .map(|version| version.path().join("bin/pgbench"))
        .filter(|path| Path::exists(path));
    programs.max().map(|path| path.display().to_string())
}
