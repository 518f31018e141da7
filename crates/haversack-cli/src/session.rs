//! Opening of the store a command works on, and the schema remembered beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use haversack::{CollectionSchema, Config, EditRefusal, Error, Haversack, Reference, Schema, StoredRecord};

use crate::arguments::StoreArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::keys;
use crate::present::Screen;

/// Where a store's folder keeps the schema it was last opened with.
pub(crate) const SCHEMA_FILE: &str = "schema.json";
/// What messages call it.
const REMEMBERED: &str = "the schema in the store's folder";
/// Names the store's folder when `--store` does not; a path is no secret.
const STORE_VARIABLE: &str = "HAVERSACK_STORE";

/// An open store and what a command needs beside it.
pub(crate) struct Session {
    /// The store.
    pub(crate) store: Haversack,
    /// Its schema.
    pub(crate) schema: Schema,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Where the outcome goes.
    pub(crate) screen: Screen,
}

/// Opens the store, does the work, closes the store.
///
/// # Errors
/// Those of opening, then those of the work.
pub(crate) async fn with_session(
    arguments: &StoreArguments,
    work: impl AsyncFnOnce(&Session) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let session = Session::open(arguments).await?;
    let worked = work(&session).await;
    let closed = session.store.close().await;
    let exit = worked?;
    closed?;
    Ok(exit)
}

impl Session {
    async fn open(arguments: &StoreArguments) -> Result<Self, Failure> {
        let folder = folder_of(arguments)?;
        let (schema, to_remember) = choose_schema(&folder, arguments.schema.as_deref())?;
        let keys = keys::provider(arguments.key_fd)?;
        let store =
            Haversack::open(Config::new(&folder, schema.clone(), keys).without_live_connection()).await?;
        if let Some(text) = to_remember {
            remember_schema(&folder, &text)?;
        }
        Ok(Self { store, schema, folder, screen: Screen::new(arguments.json) })
    }

    /// The record of either name.
    ///
    /// # Errors
    /// [`Failure::NoName`] or [`Failure::UnknownRecord`].
    pub(crate) async fn find(&self, name: &str) -> Result<StoredRecord, Failure> {
        let reference = Reference::parse(name).ok_or_else(|| Failure::NoName(name.to_owned()))?;
        self.store.get(reference.clone()).await?.ok_or(Failure::UnknownRecord(reference))
    }

    /// The collection of that name.
    ///
    /// # Errors
    /// [`EditRefusal::UnknownCollection`].
    pub(crate) fn collection(&self, name: &str) -> Result<&CollectionSchema, Failure> {
        let found = self.schema.collection(name);
        found.ok_or_else(|| EditRefusal::UnknownCollection(name.to_owned()).into())
    }

    /// Says whether the schema calls a field personal data; a field nobody knows counts as such.
    pub(crate) fn is_sensitive(&self, collection: &str, field: &str) -> bool {
        let collection = self.schema.collection(collection);
        collection.and_then(|collection| collection.field(field)).is_none_or(|field| field.sensitive)
    }
}

/// The folder of the store.
///
/// # Errors
/// [`Failure::NoFolder`].
pub(crate) fn folder_of(arguments: &StoreArguments) -> Result<PathBuf, Failure> {
    let folder = arguments.store.clone().or_else(|| std::env::var_os(STORE_VARIABLE).map(PathBuf::from));
    folder.filter(|folder| !folder.as_os_str().is_empty()).ok_or(Failure::NoFolder)
}

/// The schema to open with, and its text when the folder does not remember it yet.
fn choose_schema(folder: &Path, given: Option<&Path>) -> Result<(Schema, Option<String>), Failure> {
    let remembered = match fs::read_to_string(folder.join(SCHEMA_FILE)) {
        Ok(text) => Some(Schema::from_json(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(Failure::File { what: REMEMBERED.to_owned(), source }),
    };
    let Some(path) = given else {
        return Ok((remembered.ok_or(Failure::NoSchema)?, None));
    };
    let text = fs::read_to_string(path)
        .map_err(|source| Failure::File { what: "the schema file".to_owned(), source })?;
    let schema = Schema::from_json(&text)?;
    match remembered {
        Some(remembered) if remembered == schema => Ok((schema, None)),
        Some(remembered) if remembered.version >= schema.version => {
            Err(Failure::SchemaNotNewer { remembered: remembered.version })
        }
        _ => Ok((schema, Some(text))),
    }
}

/// Keeps the schema for the next command; a kill leaves the old one or the new one, never half of it.
fn remember_schema(folder: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::File { what: REMEMBERED.to_owned(), source };
    let unfinished = folder.join(format!("{SCHEMA_FILE}.new"));
    fs::write(&unfinished, text).map_err(failed)?;
    fs::rename(unfinished, folder.join(SCHEMA_FILE)).map_err(failed)
}

/// Waits until the person ends the command; without signals, for ever.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The error a mark meets when the store was never bound to a person.
pub(crate) fn as_unbound(error: Error) -> Failure {
    match error {
        Error::NotConnected => Failure::NotBound,
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(version: u32, field: &str) -> String {
        let fields = format!(r#"{{"{field}":{{"kind":"text"}}}}"#);
        format!(r#"{{"version":{version},"collections":{{"visit":{{"fields":{fields}}}}}}}"#)
    }

    #[test]
    fn a_schema_is_named_once_and_replaced_by_a_newer_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().join("given.json");
        let choose = |text: &str| {
            fs::write(&given, text).unwrap();
            choose_schema(folder.path(), Some(&given))
        };
        assert!(matches!(choose_schema(folder.path(), None), Err(Failure::NoSchema)));

        let (_, text) = choose(&schema(2, "note")).unwrap();
        remember_schema(folder.path(), &text.unwrap()).unwrap();
        assert_eq!(choose_schema(folder.path(), None).unwrap().0.version, 2);

        assert!(choose(&schema(2, "note")).unwrap().1.is_none(), "the same again");
        for not_newer in [schema(2, "other"), schema(1, "note")] {
            assert!(matches!(choose(&not_newer), Err(Failure::SchemaNotNewer { remembered: 2 })));
        }
        assert!(choose(&schema(3, "other")).unwrap().1.is_some(), "a newer one");
    }
}
