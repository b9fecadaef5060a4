//! How quickly and with how much memory a larger cluster is backed up and comes back. It takes gigabytes of disk, so that
//! it runs when it is asked for only: `cargo test -p mainstay-engine-postgresql --test it -- --ignored --nocapture`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use futures::StreamExt;
use mainstay_dataplane::{
    Address, Body, Claim, DataPlane, Delete, DeleteError, Deletion, Health, Hints, IngestError, Receipt, Serve,
    ServeError, Served, Sha256, Source, Trouble, Verified, Verify,
};
use mainstay_engine::conformance::recovery::MemoryArchive;
use mainstay_engine::recovery::{Archive, LogCatalogue, LogPiece, Recovery, Until};
use mainstay_engine::{Engine, EngineError};
use mainstay_types::Plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::place::{Place, Tenant, cluster, run};
use crate::restores::program;

/// What a backup or a restore may take of memory.
const MOST_MEMORY_KIB: u64 = 256 << 10;

/// A data plane of plain files, which are not looked at: what is measured is the engine. Contents are called by their number.
struct Files {
    directory: PathBuf,
}

impl Files {
    fn trouble(error: std::io::Error) -> Trouble {
        Trouble::unavailable(error.to_string())
    }

    fn path(&self, address: Address) -> PathBuf {
        self.directory.join(address.to_string().replace(':', "-"))
    }
}

#[async_trait]
impl DataPlane for Files {
    async fn ingest_stream(&self, mut source: Source, _: Hints) -> Result<Receipt, IngestError> {
        let number = std::fs::read_dir(&self.directory).map_err(Self::trouble)?.count();
        let address = Address::of(&number.to_le_bytes());
        let mut file = tokio::fs::File::create(self.path(address)).await.map_err(Self::trouble)?;
        let mut size = 0;
        while let Some(bytes) = source.next().await {
            let bytes = bytes.map_err(IngestError::Source)?;
            file.write_all(&bytes).await.map_err(Self::trouble)?;
            size += bytes.len() as u64;
        }
        file.sync_all().await.map_err(Self::trouble)?;
        let sha256 = Sha256([0; 32]);
        Ok(Receipt { address, sha256, md5: None, size, claim: Claim(1), key: None, known: false })
    }

    async fn serve_object(&self, request: Serve) -> Result<Served, ServeError> {
        let file = tokio::fs::File::open(self.path(request.address)).await.map_err(Self::trouble)?;
        let size = file.metadata().await.map_err(Self::trouble)?.len();
        let stream = futures::stream::try_unfold(file, |mut file| async move {
            let mut buffer = Vec::with_capacity(1 << 20);
            let read = (&mut file).take(1 << 20).read_to_end(&mut buffer).await.map_err(Self::trouble)?;
            Ok((read > 0).then(|| (buffer.into(), file)))
        });
        Ok(Served { size, body: Body::Stream(Box::pin(stream)) })
    }

    async fn verify_object(&self, _: Verify) -> Result<Verified, ServeError> {
        Err(Trouble::unavailable("nothing is verified here").into())
    }

    async fn delete_object(&self, _: Delete) -> Result<Deletion, DeleteError> {
        Err(Trouble::unavailable("nothing is deleted here").into())
    }

    async fn backend_health(&self) -> Health {
        Health { backend: "files".to_owned(), trouble: None, contents: 0, stored_bytes: 0, free_bytes: None }
    }
}

/// A catalogue in memory.
#[derive(Default)]
struct Catalogue(Mutex<BTreeMap<String, LogPiece>>);

#[async_trait]
impl LogCatalogue for Catalogue {
    async fn record(&self, name: &str, piece: &LogPiece) -> Result<(), EngineError> {
        self.0.lock().unwrap().insert(name.to_owned(), piece.clone());
        Ok(())
    }

    async fn pieces(&self) -> Result<Vec<(String, LogPiece)>, EngineError> {
        Ok(self.0.lock().unwrap().clone().into_iter().collect())
    }

    async fn forget(&self, name: &str) -> Result<(), EngineError> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
}

#[test]
#[ignore = "it takes gigabytes of disk and minutes"]
fn a_gigabyte_is_backed_up_and_comes_back_in_little_memory() {
    run(async {
        let place = Place::new();
        let files = tempfile::tempdir().unwrap();
        let engine = Arc::new(place.engine());
        let mut spec = cluster(Plan::Shared);
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        let tenant = Tenant::new(&engine, &spec).await;
        let filled = program(&place, &spec, "pgbench").args(["-i", "-q", "-s", "60", &tenant.database()]).status();
        assert!(filled.unwrap().success());
        let memory = MemoryArchive::default();
        let plane = Arc::new(Files { directory: files.path().to_owned() });
        let archive = Archive { plane, log: Arc::new(Catalogue::default()), ..memory.archive() };
        let follower = tokio::spawn({
            let (engine, spec, archive) = (engine.clone(), spec.clone(), archive.clone());
            async move { engine.follow_log(&spec, &archive).await }
        });
        let peak = peak_memory();

        let timed = |what: &'static str, size: u64, begin: Instant| {
            let seconds = begin.elapsed().as_secs_f64();
            eprintln!("{what}: {:.0} MB in {seconds:.1} s, {:.0} MB/s", size as f64 / 1e6, size as f64 / 1e6 / seconds);
        };
        let begin = Instant::now();
        let backup = engine.back_up(&spec, &[], &archive).await.unwrap();
        let size = backup.parts[0].size;
        timed("backup", size, begin);
        let begin = Instant::now();
        let rehearsal = engine.rehearse(&spec, &tenant.instance, &backup, &[], &archive).await.unwrap();
        assert!(rehearsal.is_passed(), "{rehearsal:?}");
        timed("drill", size, begin);
        eprintln!("drill: served after {:.1} s", rehearsal.recovery_time.as_secs_f64());
        let begin = Instant::now();
        let (instance, id) = (&tenant.instance, &tenant.instance.id);
        engine.restore_instance(&spec, instance, id, &backup, Until::Backup, &archive).await.unwrap();
        timed("restore of the instance", size, begin);
        follower.abort();
        let _: Result<EngineError, _> = follower.await;
        engine.stop(&spec).await.unwrap();
        let begin = Instant::now();
        engine.restore_cluster(&spec, &backup, Until::Backup, &archive).await.unwrap();
        timed("restore of the cluster", size, begin);
        eprintln!("peak memory: {} KiB before, {} KiB after", peak, peak_memory());
        assert!(peak_memory() < MOST_MEMORY_KIB);
        engine.remove(&spec).await.unwrap();
    });
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
