//! The seal of a store, as it is stored: what it is, and the root key that it wraps.

use mainstay_storage::{ReadError, Row, Statement, Store};

use super::{Seal, SealFault, SealKind, Split};
use crate::aead::KeyBytes;

/// A row of the table `seal`, which has one where the store is initialised.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredSeal {
    pub kind: SealKind,
    /// Which key wraps the root key.
    pub key_id: String,
    wrapped: Vec<u8>,
}

/// A row that no custody wrote.
#[derive(Debug, thiserror::Error)]
#[error(
    "the secret store names a seal that this Mainstay does not know; use the Mainstay that wrote it, or a newer one"
)]
struct Unknown;

impl StoredSeal {
    /// Wraps a root key.
    pub async fn wrap(seal: &dyn Seal, root: &KeyBytes) -> Result<Self, SealFault> {
        let kind = seal.kind();
        let wrapped = seal.wrap(root.as_ref(), &kind.context()).await?;
        Ok(Self { kind, key_id: seal.key_id(), wrapped })
    }

    /// The root key; none where the seal's key is not the one that wrapped it, or the row is damaged.
    pub async fn unwrap(&self, seal: &dyn Seal) -> Result<Option<KeyBytes>, SealFault> {
        let opened = seal.unwrap(&self.wrapped, &self.kind.context()).await?;
        Ok(opened.and_then(|opened| KeyBytes::from_slice(&opened)))
    }

    /// Reads the row.
    pub async fn load(store: &Store) -> Result<Option<Self>, ReadError> {
        let select = "SELECT kind, shares, threshold, key_id, root_key FROM seal WHERE id = 1";
        store.read(Statement::new(select, [])).await?.first().map(Self::from_row).transpose()
    }

    /// The statement that stores the first seal of a store, and touches nothing where there is one.
    pub fn insert(&self) -> Statement {
        let sql = "INSERT INTO seal (id, kind, shares, threshold, key_id, root_key) VALUES (1, $1, $2, $3, $4, $5) \
                   ON CONFLICT (id) DO NOTHING";
        let (kind, shares, threshold) = columns(&self.kind);
        let parameters =
            [kind.into(), shares.into(), threshold.into(), self.key_id.as_str().into(), self.wrapped.as_slice().into()];
        Statement::new(sql, parameters).expect(1)
    }

    /// The statement that puts this seal in the place of another, and touches nothing where that is not the one.
    pub fn replace(&self, before: &Self) -> Statement {
        let sql = "UPDATE seal SET kind = $1, shares = $2, threshold = $3, key_id = $4, root_key = $5 \
                   WHERE id = 1 AND root_key = $6";
        let (kind, shares, threshold) = columns(&self.kind);
        let parameters = [
            kind.into(),
            shares.into(),
            threshold.into(),
            self.key_id.as_str().into(),
            self.wrapped.as_slice().into(),
            before.wrapped.as_slice().into(),
        ];
        Statement::new(sql, parameters).expect(1)
    }

    /// A statement that undoes its transaction where this is not the seal any more.
    pub fn unchanged(&self) -> Statement {
        let touch = "UPDATE seal SET id = 1 WHERE id = 1 AND root_key = $1";
        Statement::new(touch, [self.wrapped.as_slice().into()]).expect(1)
    }

    fn from_row(row: &Row) -> Result<Self, ReadError> {
        let unknown = || ReadError::Other { source: Box::new(Unknown) };
        let number = |column| u8::try_from(row.integer(column)?).map_err(|_| unknown());
        let kind = match row.text(0)? {
            "keyfile" => SealKind::KeyFile,
            "shamir" => SealKind::Shamir(Split::new(number(1)?, number(2)?).map_err(|_| unknown())?),
            _ => return Err(unknown()),
        };
        Ok(Self { kind, key_id: row.text(3)?.to_owned(), wrapped: row.blob(4)?.to_vec() })
    }
}

fn columns(kind: &SealKind) -> (&'static str, i64, i64) {
    match kind {
        SealKind::KeyFile => (kind.as_str(), 0, 0),
        SealKind::Shamir(split) => (kind.as_str(), split.shares().into(), split.threshold().into()),
    }
}
