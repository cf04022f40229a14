//! Writes the first files of the corpus, from which fuzzing starts: a list of each format, and hostile ones.
//!
//! `cargo run --example seeds -- FIXTURES DIR` takes the lists of the tests from `FIXTURES` and makes a folder for each
//! target in `DIR`.

use std::fs;
use std::path::{Path, PathBuf};

use payouts_fuzz::COMMENTS_SEPARATOR;

/// Files that no format may stumble over, for the XML formats with their root element as `ROOT`.
const HOSTILE_XML: [(&str, &str); 12] = [
    ("doctype", "<!DOCTYPE ROOT [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\">]><ROOT>&b;</ROOT>"),
    ("entity", "<ROOT>&xxe;</ROOT>"),
    ("entity-in-attribute", "<ROOT a='&xxe;'/>"),
    ("character-reference", "<ROOT>&#0;&#xD800;&#1114112;</ROOT>"),
    ("unclosed", "<ROOT><a>"),
    ("wrong-end", "<ROOT><a></b></ROOT>"),
    ("two-roots", "<ROOT/><ROOT/>"),
    ("cdata", "<ROOT><![CDATA[<a>&b;]]></ROOT>"),
    ("comment", "<ROOT><!-- <a> -- --></ROOT>"),
    ("utf-16", "<?xml version='1.0' encoding='UTF-16'?><ROOT/>"),
    ("nested", "<ROOT><ROOT><ROOT><ROOT><ROOT><ROOT><ROOT><ROOT><ROOT><ROOT><ROOT><ROOT>"),
    ("attributes", "<ROOT a='1' a='2' b=3 c/>"),
];

const HOSTILE_CSV: [(&str, &str); 6] = [
    ("open-quotation", "1,\"two\n3"),
    ("quotation-inside", "1,tw\"o,3\n"),
    ("one-field", "1\n2\n3"),
    ("many-fields", ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n"),
    ("dos-end", "1,\"2\"\r\n\u{1a}"),
    ("header-only", "address,name,label,programme,reference\n"),
];

fn main() -> std::io::Result<()> {
    let [fixtures, dir] = [1, 2].map(|at| PathBuf::from(std::env::args().nth(at).expect("two folders")));
    let fixture = |name: &str| fs::read(fixtures.join(name));
    for (target, root, list) in [
        ("ofac_advanced", "Sanctions", "sdn_advanced.xml"),
        ("ofac_sdn_xml", "sdnList", "sdn.xml"),
        ("eu_fsf", "export", "eu_fsf.xml"),
    ] {
        write(&dir, target, "list", &fixture(list)?)?;
        for (name, text) in HOSTILE_XML {
            write(&dir, target, name, text.replace("ROOT", root).as_bytes())?;
        }
    }
    let sdn_csv = [&fixture("sdn.csv")?, COMMENTS_SEPARATOR, &fixture("sdn_comments.csv")?].concat();
    write(&dir, "ofac_sdn_csv", "list", &sdn_csv)?;
    write(&dir, "ofac_sdn_csv", "list-without-comments", &fixture("sdn.csv")?)?;
    write(&dir, "uk_csv", "list", &fixture("uk_sanctions_list.csv")?)?;
    write(&dir, "uk_csv", "list-of-ofsi", &fixture("uk_conlist.csv")?)?;
    write(&dir, "supplement", "list", &fixture("supplement.csv")?)?;
    for target in ["ofac_sdn_csv", "uk_csv", "supplement"] {
        for (name, text) in HOSTILE_CSV {
            write(&dir, target, name, text.as_bytes())?;
        }
    }
    Ok(())
}

fn write(dir: &Path, target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let dir = dir.join(target);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(name), bytes)
}
