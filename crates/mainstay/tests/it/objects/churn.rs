//! A client that changes its objects in every way there is, and knows what has to be there afterwards.

use std::collections::BTreeMap;

use super::Bound;
use super::request::Answer;
use super::stock::noise;
use crate::harness::Chance;

/// Keys of one client: few, so that most changes overwrite or delete something.
const KEYS: u64 = 12;
/// What every part but the last has at least.
const PART: usize = 5 << 20;
/// Contents that all clients put and delete, so that one gives up what another takes in.
const SHARED: u64 = 6;
/// The shortest content that does not lie in a pack, with some room above it.
const LARGE: std::ops::Range<u64> = 1 << 20..3 << 20;

/// A client with keys of its own.
pub struct Client {
    bound: Bound,
    name: u64,
    chance: Chance,
    /// What each key may hold: more than one thing where a change was not answered.
    keys: BTreeMap<String, Vec<State>>,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Requests that were not answered.
    pub unanswered: u64,
}

/// What a key holds.
type State = Option<Content>;

/// Bytes that follow from numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Content {
    /// The first part of an upload in parts.
    first: Option<u64>,
    seed: u64,
    size: usize,
}

/// The layer is gone.
struct CutOff;

impl Content {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = self.first.map(|seed| noise(seed, PART)).unwrap_or_default();
        bytes.extend(noise(self.seed, self.size));
        bytes
    }

    fn len(self) -> usize {
        self.first.map_or(0, |_| PART) + self.size
    }
}

impl Client {
    pub fn new(bound: &Bound, name: u64, chance: Chance) -> Self {
        let keys = (0..KEYS).map(|key| (format!("{name}-{key:02}"), vec![None])).collect();
        Self { bound: bound.clone(), name, chance, keys, acknowledged: 0, unanswered: 0 }
    }

    /// Changes one thing after the other until nobody answers.
    pub fn change_on(&mut self) {
        while self.change().is_ok() {}
    }

    fn change(&mut self) -> Result<(), CutOff> {
        let key = self.draw_key();
        match self.chance.pick(0..20) {
            0..7 => {
                let size = self.chance.pick(0..60_000);
                let content = self.draw(size);
                self.put(&key, content)
            }
            7..10 => {
                let seed = self.chance.pick(0..SHARED);
                self.put(&key, Content { first: None, seed, size: 3000 * seed as usize })
            }
            10 => {
                let size = self.chance.pick(LARGE);
                let content = self.draw(size);
                self.put(&key, content)
            }
            11 => self.upload(&key),
            12..14 => self.copy(&key),
            _ => {
                let outcome = self.bound.attempt("DELETE", &self.bound.path(&key), &[], b"");
                self.done(&key, None, outcome)
            }
        }
    }

    fn put(&mut self, key: &str, content: Content) -> Result<(), CutOff> {
        let outcome = self.bound.attempt("PUT", &self.bound.path(key), &[], &content.bytes());
        self.done(key, Some(content), outcome)
    }

    fn copy(&mut self, to: &str) -> Result<(), CutOff> {
        let from = self.draw_key();
        let [Some(content)] = self.keys[&from][..] else { return Ok(()) };
        // S3 refuses to copy an object to itself with nothing changed.
        if from == to {
            return Ok(());
        }
        let source = self.bound.path(&from);
        let outcome = self.bound.attempt("PUT", &self.bound.path(to), &[("x-amz-copy-source", &source)], b"");
        self.done(to, Some(content), outcome)
    }

    /// An upload in two parts, which is completed, aborted, or left behind.
    fn upload(&mut self, key: &str) -> Result<(), CutOff> {
        let mut content = self.draw(20_000);
        content.first = Some(self.chance.pick(0..3));
        let path = self.bound.path(key);
        let begun = self.answered(self.bound.attempt("POST", &format!("{path}?uploads="), &[], b""))?;
        let upload = format!("uploadId={}", begun.element("UploadId"));
        let bytes = content.bytes();
        for (number, part) in [&bytes[..PART], &bytes[PART..]].into_iter().enumerate() {
            let part = self.bound.attempt("PUT", &format!("{path}?partNumber={}&{upload}", number + 1), &[], part);
            self.answered(part)?;
        }
        match self.chance.pick(0..6) {
            0 => return Ok(()),
            1 => {
                self.answered(self.bound.attempt("DELETE", &format!("{path}?{upload}"), &[], b""))?;
                return Ok(());
            }
            _ => {}
        }
        let parts = self.answered(self.bound.attempt("GET", &format!("{path}?{upload}"), &[], b""))?;
        let part = |(number, etag)| format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", number + 1);
        let parts: String = parts.elements("ETag").into_iter().enumerate().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let outcome = self.bound.attempt("POST", &format!("{path}?{upload}"), &[], body.as_bytes());
        self.done(key, Some(content), outcome)
    }

    /// What becomes of a key by a change.
    fn done(&mut self, key: &str, state: State, outcome: Result<Answer, ureq::Error>) -> Result<(), CutOff> {
        let answered = self.answered(outcome);
        let states = self.keys.get_mut(key).unwrap();
        match answered {
            Ok(_) => *states = vec![state],
            Err(CutOff) => states.push(state),
        }
        answered.map(|_| self.acknowledged += 1)
    }

    /// An answer, which can not be a refusal: nothing of it is the client's fault.
    fn answered(&mut self, outcome: Result<Answer, ureq::Error>) -> Result<Answer, CutOff> {
        let Ok(answer) = outcome else {
            self.unanswered += 1;
            return Err(CutOff);
        };
        // Some operations answer before they are done, and tell of an error in the body.
        assert!(answer.status < 300 && answer.code().is_empty(), "{}", String::from_utf8_lossy(&answer.body));
        Ok(answer)
    }

    /// Reads everything: each key holds what was acknowledged last, or what was asked for and not answered. Gives the
    /// keys that hold something, and how much.
    pub fn expect_whole(&mut self) -> BTreeMap<String, usize> {
        for (key, states) in &mut self.keys {
            let found = self.bound.get(key);
            let state = match found.status {
                404 => None,
                _ => {
                    let bytes = found.expect(200);
                    let same = |content: &Content| content.len() == bytes.len() && content.bytes() == bytes;
                    let content = states.iter().flatten().copied().find(same);
                    assert!(content.is_some(), "{key} has {} bytes, which are none of {states:?}", bytes.len());
                    content
                }
            };
            assert!(states.contains(&state), "{key} is not there, and should be one of {states:?}");
            *states = vec![state];
        }
        self.keys.iter().filter_map(|(key, states)| Some((key.clone(), states[0]?.len()))).collect()
    }

    /// Deletes everything.
    pub fn delete_all(&mut self) {
        for (key, states) in &mut self.keys {
            self.bound.delete(key).expect(204);
            *states = vec![None];
        }
    }

    fn draw_key(&mut self) -> String {
        format!("{}-{:02}", self.name, self.chance.pick(0..KEYS))
    }

    /// Bytes that nobody else has.
    fn draw(&mut self, size: u64) -> Content {
        Content { first: None, seed: self.chance.pick(SHARED..u64::MAX), size: size as usize }
    }
}

impl Bound {
    /// All that a listing shows, page by page: keys, and sizes.
    pub fn listed(&self) -> BTreeMap<String, usize> {
        let mut listed = BTreeMap::new();
        loop {
            let after = listed.last_key_value().map(|(key, _): (&String, _)| format!("&start-after={key}"));
            let query = format!("?list-type=2&max-keys=7{}", after.unwrap_or_default());
            let page = self.call("GET", &format!("/{}{query}", self.bucket), &[], b"");
            assert_eq!(page.status, 200, "{}", String::from_utf8_lossy(&page.body));
            let sizes = page.elements("Size").into_iter().map(|size| size.parse().unwrap());
            listed.extend(page.elements("Key").into_iter().zip(sizes));
            if page.element("IsTruncated") == "false" {
                return listed;
            }
        }
    }

    /// Gives up all uploads in parts.
    pub fn abort_uploads(&self) {
        loop {
            let uploads = self.call("GET", &format!("/{}?uploads=", self.bucket), &[], b"");
            let (keys, ids) = (uploads.elements("Key"), uploads.elements("UploadId"));
            if ids.is_empty() {
                return;
            }
            for (key, id) in keys.iter().zip(ids) {
                self.call("DELETE", &format!("{}?uploadId={id}", self.path(key)), &[], b"").expect(204);
            }
        }
    }
}
