#![allow(clippy::unwrap_used)]

use super::{
    super::{blocked_property, fixture, register, sales, schema, screening_log},
    *,
};

/// Writes a set with all tables and a statement; returns its files and manifest.
fn set() -> (BTreeMap<String, Vec<u8>>, Manifest) {
    let head = fixture::head();
    let rows = [fixture::row(1, 1, 156_785_221), fixture::row(2, 2, 94_071_132)];
    let statement = fixture::statement().balanced().unwrap();
    let mut files = BTreeMap::new();
    let mut set = ReportSet::new(head.clone());
    let mut write = |name: &str, write: &dyn Fn(&ReportHead, &mut dyn Write) -> Result<(), ReportError>| {
        let mut bytes = Vec::new();
        set.write(name, &mut bytes, write).unwrap();
        files.insert(name.to_owned(), bytes);
    };
    write(&register::register_file(&head), &|head, out| register::write_register(head, &rows, out));
    write(&register::register_lots_file(&head), &|head, out| register::write_register_lots(head, &rows, out));
    write(&statement.file(&head, "csv"), &|head, out| statement.write_csv(head, out));
    write(&statement.file(&head, "json"), &|head, out| statement.write_json(head, out));
    write(&statement.file(&head, "html"), &|head, out| statement.write_html(head, out));
    write(&sales::export_sales_file(&head), &|head, out| sales::write_export_sales(head, &[fixture::sale()], out));
    write(screening_log::SCREENING_LOG_FILE, &|head, out| {
        screening_log::write_screening_log(head, &[fixture::screening()], out)
    });
    write(blocked_property::BLOCKED_PROPERTY_FILE, &|head, out| {
        blocked_property::write_blocked_property(head, &[fixture::blocked()], out)
    });
    write(schema::JSON_FILE, &|_, out| schema::write_json(out));
    write(schema::MARKDOWN_FILE, &|_, out| schema::write_markdown(out));
    let mut bytes = Vec::new();
    let manifest = set.finish(&mut bytes).unwrap();
    files.insert(MANIFEST_FILE.to_owned(), bytes);
    (files, manifest)
}

fn readers(files: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = (&str, &[u8])> {
    files.iter().map(|(name, bytes)| (&**name, &bytes[..]))
}

#[test]
fn a_manifest_names_every_file_with_its_hash_and_size() {
    let (files, manifest) = set();
    assert_eq!(Manifest::read(&files[MANIFEST_FILE][..]).unwrap(), manifest);
    let file: serde_json::Value = serde_json::from_slice(&files[MANIFEST_FILE]).unwrap();
    for (field, value) in [
        ("schema_version", serde_json::json!(2)),
        ("notice", NOT_LEGAL_ADVICE.into()),
        ("software_version", "0.1.0".into()),
        ("profile", "utc+3".into()),
        ("profile_version", "2026-01".into()),
        ("generated_at", "2026-03-01T21:20:00Z".into()),
        ("sequence", serde_json::json!({ "first": 1, "last": 4 })),
        ("chain_head", "ab".repeat(32).into()),
    ] {
        assert_eq!(file[field], value, "{field}");
    }
    assert_eq!(file["period"]["label"], "2026-02");
    assert_eq!(manifest.files.len(), files.len() - 1);
    for entry in &manifest.files {
        let bytes = &files[&entry.name];
        assert_eq!((entry.bytes, &entry.sha256), (bytes.len() as u64, &hex::encode(Sha256::digest(bytes))));
    }
    assert_eq!(manifest.verify(readers(&files)).unwrap(), []);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(set().0, set().0);
}

#[test]
fn every_table_of_the_set_is_described() {
    let (files, manifest) = set();
    let tables = schema::tables();
    for entry in manifest.files.iter().filter(|entry| entry.name.ends_with(".csv")) {
        let header = fixture::Parsed::read(&files[&entry.name]).header().to_vec();
        let described = |table: &&schema::TableSchema| table.columns.iter().map(|column| column.name).eq(&header);
        assert!(tables.iter().any(|table| described(&table)), "{}", entry.name);
    }
}

#[test]
fn every_change_of_a_file_is_found() {
    let (files, manifest) = set();
    for name in files.keys().filter(|name| *name != MANIFEST_FILE) {
        let mut changed = files.clone();
        *changed.get_mut(name).unwrap().last_mut().unwrap() ^= 1;
        let found = manifest.verify(readers(&changed)).unwrap();
        assert!(matches!(&found[..], [Discrepancy::Hash { name: it, .. }] if it == name), "{name}: {found:?}");
        let mut longer = files.clone();
        longer.get_mut(name).unwrap().push(b'\n');
        let found = manifest.verify(readers(&longer)).unwrap();
        assert!(matches!(&found[..], [Discrepancy::Size { name: it, .. }] if it == name), "{name}: {found:?}");
        let mut missing = files.clone();
        missing.remove(name);
        assert_eq!(manifest.verify(readers(&missing)).unwrap(), [Discrepancy::Missing(name.clone())]);
    }
}

#[test]
fn a_file_too_many_is_found() {
    let (mut files, manifest) = set();
    files.insert("extra.csv".to_owned(), Vec::new());
    assert_eq!(manifest.verify(readers(&files)).unwrap(), [Discrepancy::Unlisted("extra.csv".to_owned())]);
    let name = manifest.files[0].name.clone();
    let twice = readers(&files).chain([(&*name, &files[&name][..])]).filter(|(name, _)| *name != "extra.csv");
    assert_eq!(manifest.verify(twice).unwrap(), [Discrepancy::Repeated(name)]);
}

#[test]
fn a_name_is_taken_once_and_leads_nowhere_else() {
    let mut set = ReportSet::new(fixture::head());
    let mut bytes = Vec::new();
    set.write("a.csv", &mut bytes, |_, out| Ok(out.write_all(b"a")?)).unwrap();
    for name in ["a.csv", "A.CSV", MANIFEST_FILE] {
        let error = set.write(name, &mut bytes, |_, _| -> Result<(), _> { panic!("written") }).unwrap_err();
        assert!(matches!(error, ReportError::Duplicate(_)), "{name}");
    }
    for name in ["../a.csv", "", "a/b.csv"] {
        let error = set.write(name, &mut bytes, |_, _| -> Result<(), _> { panic!("written") }).unwrap_err();
        assert!(matches!(error, ReportError::FileName(_)), "{name}");
    }
    assert_eq!(bytes, b"a");
}

#[test]
fn a_file_that_failed_is_not_part_of_the_set() {
    let mut set = ReportSet::new(fixture::head());
    let error = set.write("a.csv", &mut Vec::new(), |_, _| -> Result<(), _> { Err(ReportError::Time(1)) });
    assert!(error.is_err());
    assert_eq!(set.finish(&mut Vec::new()).unwrap().files, []);
}

#[test]
fn a_writer_that_takes_little_at_once_is_hashed_right() {
    struct Slow(Vec<u8>);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(3);
            self.0.extend(&bytes[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut slow = Slow(Vec::new());
    let mut set = ReportSet::new(fixture::head());
    set.write("a.csv", &mut slow, |head, out| register::write_register(head, &[fixture::row(1, 1, 5)], out)).unwrap();
    let manifest = set.finish(&mut Vec::new()).unwrap();
    assert_eq!(manifest.verify([("a.csv", &slow.0[..])]).unwrap(), []);
    assert!(slow.0.len() > 3);
}

#[test]
fn a_manifest_of_another_layout_is_refused() {
    let (files, _) = set();
    let text = String::from_utf8(files[MANIFEST_FILE].clone()).unwrap();
    let newer = text.replace("\"schema_version\": 2", "\"schema_version\": 3");
    assert!(matches!(Manifest::read(newer.as_bytes()), Err(ReportError::SchemaVersion(3))));
    let unknown = text.replace("\"pool\"", "\"pond\"");
    assert!(matches!(Manifest::read(unknown.as_bytes()), Err(ReportError::Json(_))));
    assert!(matches!(Manifest::read(&b"x"[..]), Err(ReportError::Json(_))));
    let elsewhere = text.replace("screening_log.csv", "../../screening_log.csv");
    assert!(matches!(Manifest::read(elsewhere.as_bytes()), Err(ReportError::FileName(_))));
}
