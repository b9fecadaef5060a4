//! A copy of the repository somewhere else, which is a repository itself.
//!
//! All files but documents are written once, so that a copy is what is missing there: packs first, then index records, then
//! documents, so that whatever the copy lists it has. What is gone here is removed there afterwards, but nothing that this
//! repository should have and has lost.
//!
//! A repository that was put back as it was earlier would take what its copy has of the time since for what is gone. So each run has a
//! number, which stands here before it stands there: a copy that knows of a run which the repository does not know of is ahead, and is
//! left alone. That is no question of which names or sequences there are: those go on in either.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use mainstay_dataplane::Trouble;
use mainstay_types::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::document::{self, DOCUMENTS};
use crate::files::{Failure, Files, Listed};
use crate::format::{self, Format, Unreadable};
use crate::inner::Inner;
use crate::keeper;
use crate::pack::{self, PACKS};
use crate::record::{INDEX, Record};
use crate::{Credentials, Location, MirrorError, OpenError, Progress};

/// Files that are copied at the same time, of which each is in memory as a whole: 16 MiB, as packs are.
const AT_ONCE: usize = 4;

/// What a copy has beside: how far it came.
pub(crate) const MARKER: &str = "mainstay-mirror.json";

/// Where a repository has the same of each of its copies, by [`Marker::copy`].
const COPIES: &str = "copies/";

/// How much coarser than others some servers' clocks are.
const GRAIN_MICROS: i64 = 2_000_000;

/// What became of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrored {
    pub copied_files: u64,
    pub copied_bytes: u64,
    pub removed_files: u64,
    /// Files that are damaged here, and that were not copied.
    pub damaged: Vec<String>,
    /// What the copy lacks still: what is damaged, and what has come meanwhile.
    pub behind: Behind,
}

/// How far a copy is behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    pub files: u64,
    pub bytes: u64,
    /// The newest document here, and the newest of those that the copy has.
    pub newest_here: Option<Newest>,
    pub newest_there: Option<Newest>,
}

/// A document and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// `<kind>/<name>`.
    pub name: String,
    pub written_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    version: u8,
    /// When the newest document was written that was there as the last copy began, by the clock of what it was copied from.
    documents_until: Option<String>,
    /// Which copy it is, wherever it lies. Markers had neither this nor runs once: those were none.
    #[serde(default = "Uuid::new_v4")]
    copy: Uuid,
    /// How often it was brought up to date, or that was begun.
    #[serde(default)]
    run: u64,
}

/// What is to be done.
struct Plan {
    /// In the order in which it is to be copied.
    packs: Vec<Listed>,
    records: Vec<Listed>,
    documents: Vec<Listed>,
    surplus: Vec<Listed>,
    documents_until: Option<Timestamp>,
    behind: Behind,
}

impl Inner {
    pub(crate) async fn mirror(
        self: &Arc<Self>,
        to: &Location,
        credentials: &Credentials,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Mirrored, MirrorError> {
        let there = self.copy_at(to, credentials)?;
        self.claim(&there, to).await?;
        // Nothing is removed here meanwhile.
        let removing = self.removing.lock().await;
        let (marker, known) = self.marker(&there, to).await?;
        let plan = self.plan(&there, to, &marker).await?;
        let marker = Marker { run: known + 1, ..marker };
        self.note_run(&marker, &there, to).await?;
        let total_bytes = plan.behind.bytes;
        let mut mirrored = Mirrored::default();
        // A record may rely on packs that an earlier one lists.
        for (files, at_once) in [(&plan.packs, AT_ONCE), (&plan.records, 1), (&plan.documents, AT_ONCE)] {
            let mut copies =
                stream::iter(files.clone()).map(|file| self.copy(file, &there, to)).buffer_unordered(at_once);
            while let Some(copied) = copies.next().await {
                match copied? {
                    Copied::Whole(len) => {
                        mirrored.copied_files += 1;
                        mirrored.copied_bytes += len;
                    }
                    Copied::Damaged(path) => mirrored.damaged.push(path),
                    Copied::Gone => {}
                }
                progress(Progress { done_bytes: mirrored.copied_bytes, total_bytes });
            }
        }
        let failed = |failure| failed_at(to, failure);
        let now = Timestamp::now();
        for file in &plan.surplus {
            if file.modified.is_none_or(|modified| self.immutable_until(modified, now).is_none()) {
                there.remove(&file.path).await.map_err(failed)?;
                mirrored.removed_files += 1;
            } else if file.path.starts_with(INDEX) {
                // It relies on what follows.
                break;
            }
        }
        drop(removing);
        if mirrored.damaged.is_empty() {
            let documents_until = plan.documents_until.map(|until| until.to_string());
            let marker = Marker { documents_until, ..marker };
            there.write(MARKER, marker.to_text().into()).await.map_err(failed)?;
        }
        mirrored.behind = self.plan(&there, to, &marker).await?.behind;
        Ok(mirrored)
    }

    pub(crate) async fn behind(
        self: &Arc<Self>,
        to: &Location,
        credentials: &Credentials,
    ) -> Result<Behind, MirrorError> {
        let there = self.copy_at(to, credentials)?;
        self.recognise(&there, to).await?;
        let (marker, _) = self.marker(&there, to).await?;
        Ok(self.plan(&there, to, &marker).await?.behind)
    }

    /// What a copy says of itself, and how many runs this repository knows of; one that is ahead is refused.
    async fn marker(&self, there: &Files, to: &Location) -> Result<(Marker, u64), MirrorError> {
        let read = there.read(MARKER, None).await.map_err(|failure| failed_at(to, failure))?;
        let marker = read.as_deref().and_then(Marker::parse).unwrap_or_else(Marker::new);
        let noted = self.files.read(&marker.path(), None).await.map_err(from)?;
        // Where this repository was put back from that very copy, file by file, it is here.
        let own = self.files.read(MARKER, None).await.map_err(from)?;
        let known = [noted, own].into_iter().flatten().filter_map(|text| Marker::parse(&text));
        let known = known.filter(|known| known.copy == marker.copy).map(|known| known.run).max().unwrap_or(0);
        if marker.run > known {
            return Err(MirrorError::Ahead { location: to.clone() });
        }
        Ok((marker, known))
    }

    /// Says here, and then there, that a run begins.
    async fn note_run(&self, marker: &Marker, there: &Files, to: &Location) -> Result<(), MirrorError> {
        self.still_keeps().await.map_err(MirrorError::From)?;
        self.files.write(&marker.path(), marker.to_text().into()).await.map_err(from)?;
        there.write(MARKER, marker.to_text().into()).await.map_err(|failure| failed_at(to, failure))
    }

    fn copy_at(&self, to: &Location, credentials: &Credentials) -> Result<Files, MirrorError> {
        if *to == self.location {
            return Err(MirrorError::Itself { location: to.clone() });
        }
        Files::at(to, credentials).map_err(MirrorError::Open)
    }

    /// Whether a copy of this repository is there; another one is refused, and one that a layer has gone on with.
    async fn recognise(&self, there: &Files, to: &Location) -> Result<bool, MirrorError> {
        let location = || to.clone();
        let failed = |failure| MirrorError::Open(OpenError::of(to, failure));
        if there.read(keeper::FILE, None).await.map_err(failed)?.is_some() {
            return Err(MirrorError::Kept { location: location() });
        }
        let Some(text) = there.read(format::FILE, None).await.map_err(failed)? else { return Ok(false) };
        match Format::parse(&text) {
            Ok(format) if format.id == self.id => Ok(true),
            Ok(format) => Err(MirrorError::Another { location: location(), found: format.id, id: self.id }),
            Err(Unreadable::Version(found)) => {
                Err(MirrorError::Open(OpenError::Format { location: location(), found, known: format::FORMAT }))
            }
            Err(Unreadable::Other(reason)) => {
                let name = format::FILE.into();
                Err(MirrorError::Open(OpenError::Damaged { location: location(), name, reason }))
            }
        }
    }

    /// Makes a location a copy of this repository, if it is none and is empty.
    async fn claim(&self, there: &Files, to: &Location) -> Result<(), MirrorError> {
        if self.recognise(there, to).await? {
            return Ok(());
        }
        let failed = |failure| MirrorError::Open(OpenError::of(to, failure));
        if let Some(found) = there.anything().await.map_err(failed)? {
            return Err(MirrorError::Open(OpenError::NotEmpty { location: to.clone(), found }));
        }
        let text = self.files.read(format::FILE, None).await.map_err(from)?;
        let text = text.ok_or_else(|| from(Failure::Unavailable(format!("{} is gone", format::FILE))))?;
        there.write(format::FILE, text.into()).await.map_err(failed)
    }

    async fn plan(&self, there: &Files, to: &Location, marker: &Marker) -> Result<Plan, MirrorError> {
        let failed = |failure| failed_at(to, failure);
        // In this order, so that whatever a document or a record refers to is in a list that was made after.
        let documents = self.files.list(DOCUMENTS).await.map_err(from)?;
        let records = self.files.list(INDEX).await.map_err(from)?;
        let packs = self.files.list(PACKS).await.map_err(from)?;
        let until: Option<Timestamp> = marker.documents_until.as_ref().and_then(|text| text.parse().ok());
        let mut theirs = HashMap::new();
        for folder in [PACKS, INDEX, DOCUMENTS] {
            let listed = there.list(folder).await.map_err(failed)?;
            theirs.extend(listed.into_iter().map(|file| (file.path.clone(), file)));
        }
        self.refuse_lost(&documents, &theirs).await?;
        let is_missing = |file: &Listed| theirs.get(&file.path).is_none_or(|copy| copy.len != file.len);
        // A document may have been replaced by one that is as long.
        let may_differ = |file: &Listed| {
            let copied = until.zip(file.modified);
            is_missing(file) || copied.is_none_or(|(until, at)| at.as_micros() > until.as_micros() - GRAIN_MICROS)
        };
        let newest = |files: &mut dyn Iterator<Item = &Listed>| {
            let dated = files.filter_map(|file| Some((file.modified?, file)));
            dated.max_by_key(|(at, _)| *at).map(|(written_at, file)| Newest {
                name: file.path.trim_start_matches(DOCUMENTS).to_owned(),
                written_at,
            })
        };
        let lacking: HashSet<&str> =
            documents.iter().filter(|file| is_missing(file)).map(|file| file.path.as_str()).collect();
        let newest_here = newest(&mut documents.iter());
        let newest_there = newest(&mut documents.iter().filter(|file| !lacking.contains(file.path.as_str())));
        let here: HashSet<&str> =
            packs.iter().chain(&records).chain(&documents).map(|file| file.path.as_str()).collect();
        let mut surplus: Vec<Listed> = theirs
            .values()
            .filter(|file| !here.contains(file.path.as_str()) && !self.should_have(&file.path))
            .cloned()
            .collect();
        // What relies on others goes before them: documents on contents, records on earlier ones and on packs.
        surplus.sort_unstable_by_key(|file| {
            let rank = [DOCUMENTS, INDEX, PACKS].iter().position(|folder| file.path.starts_with(folder));
            (rank, Reverse(file.path.clone()))
        });
        let documents_until = newest_here.as_ref().map(|newest| newest.written_at);
        let missing = |files: Vec<Listed>| files.into_iter().filter(is_missing).collect::<Vec<_>>();
        let counted: Vec<u64> = packs
            .iter()
            .chain(&records)
            .chain(&documents)
            .filter(|file| is_missing(file))
            .map(|file| file.len)
            .collect();
        let behind = Behind { files: counted.len() as u64, bytes: counted.iter().sum(), newest_here, newest_there };
        let (packs, records) = (missing(packs), missing(records));
        let documents = documents.into_iter().filter(may_differ).collect();
        Ok(Plan { packs, records, documents, surplus, documents_until, behind })
    }

    /// Refuses to follow a repository that is not there, as a disk that is not mounted: all that the copy has would seem to be gone.
    /// No layer is without documents once it had some.
    async fn refuse_lost(&self, documents: &[Listed], theirs: &HashMap<String, Listed>) -> Result<(), MirrorError> {
        let lost = |missing| MirrorError::Lost { location: self.location.clone(), missing };
        if documents.is_empty() && theirs.keys().any(|path| path.starts_with(DOCUMENTS)) {
            return Err(lost(DOCUMENTS));
        }
        // After what was listed, so that it tells of that.
        self.files.read(format::FILE, None).await.map_err(from)?.map(drop).ok_or_else(|| lost(format::FILE))
    }

    /// Whether a file is one of this repository's, though it may have lost it.
    fn should_have(&self, path: &str) -> bool {
        let state = self.state();
        state.records.contains_key(path) || pack::name_of(path).is_some_and(|name| state.packs.number(&name).is_some())
    }

    async fn copy(self: &Arc<Self>, file: Listed, there: &Files, to: &Location) -> Result<Copied, MirrorError> {
        let Some(bytes) = self.files.read(&file.path, None).await.map_err(from)? else { return Ok(Copied::Gone) };
        let inner = Arc::clone(self);
        let path = file.path.clone();
        let (bytes, whole) = crate::blocking(move || {
            let whole = inner.is_whole(&path, &bytes);
            (bytes, whole)
        })
        .await;
        if !whole {
            tracing::error!(path = file.path, location = %self.location, "a file is damaged and is not copied");
            return Ok(Copied::Damaged(file.path));
        }
        let len = bytes.len() as u64;
        let written = there.write(&file.path, bytes.into()).await;
        written.map_err(|failure| failed_at(to, failure))?;
        Ok(Copied::Whole(len))
    }

    /// Damage is not carried on: the copy may have what is damaged here.
    fn is_whole(&self, path: &str, bytes: &[u8]) -> bool {
        if let Some(name) = pack::name_of(path) {
            return Digest::of(bytes) == name;
        }
        match path.strip_prefix(DOCUMENTS) {
            Some(name) => document::open(&self.keys, name, bytes.to_vec()).is_ok(),
            None => Record::open(&self.keys, path, &mut bytes.to_vec()).is_ok(),
        }
    }
}

// === impl Marker ===

impl Marker {
    fn new() -> Self {
        Self { version: 1, documents_until: None, copy: Uuid::new_v4(), run: 0 }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    fn to_text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("it is plain JSON")
    }

    fn path(&self) -> String {
        format!("{COPIES}{}.json", self.copy)
    }
}

enum Copied {
    Whole(u64),
    Damaged(String),
    Gone,
}

fn failed_at(to: &Location, failure: Failure) -> MirrorError {
    MirrorError::To { location: to.clone(), source: failure.into() }
}

fn from(failure: Failure) -> MirrorError {
    MirrorError::From(Trouble::from(failure))
}
