//! How the register of coin that leaves is kept: `[export]`.

use std::{fs::File, path::PathBuf, sync::Arc};

use payouts::export::{party::KEY_SIZE, rules::profile::CountryProfile};
use secrecy::ExposeSecret;

use super::{
    secret_file,
    settings::{ConfigError, Settings},
};

/// The setting of the key by which what is known of parties is sealed.
const PARTY_KEY_FILE: &str = "export.party_key_file";

/// The setting of the country profile.
const PROFILE: &str = "export.profile";
/// What the file of a profile ends with; the names of those that come with the pool do not.
const PROFILE_SUFFIX: &str = ".toml";

/// How the register of coin that leaves is kept.
#[derive(Clone, Debug)]
pub struct ExportConfig {
    /// By which rules coin that leaves is valued and reported, and who must be known to be paid.
    pub profile: Arc<CountryProfile>,
    /// Its name, or the name of its file, as the operator wrote it.
    pub(super) profile_name: String,
    /// The file of the key by which what is known of parties is sealed.
    pub(super) party_key_file: Option<PathBuf>,
}

impl ExportConfig {
    pub(super) fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let name = settings.text(PROFILE)?.unwrap_or_else(|| CountryProfile::DEFAULT.to_owned());
        let profile = match name.ends_with(PROFILE_SUFFIX) {
            true => Self::read_profile(settings.resolve(&name))?,
            false => CountryProfile::shipped(&name).ok_or_else(|| {
                let known: Vec<_> = CountryProfile::SHIPPED.iter().map(|(name, _)| *name).collect();
                settings.invalid(PROFILE, format!("{name} is neither one of {} nor a .toml file", known.join(", ")))
            })?,
        };
        let party_key_file = settings.path(PARTY_KEY_FILE)?;
        Ok(Self { profile: Arc::new(profile), profile_name: name, party_key_file })
    }

    /// That of a pool whose operator has set nothing.
    #[cfg(test)]
    pub(crate) fn unset() -> Self {
        let profile = CountryProfile::shipped(CountryProfile::DEFAULT).expect("it comes with the pool");
        Self { profile: Arc::new(profile), profile_name: CountryProfile::DEFAULT.to_owned(), party_key_file: None }
    }

    fn read_profile(path: PathBuf) -> Result<CountryProfile, ConfigError> {
        let file = File::open(&path).map_err(|source| ConfigError::UnreadableFile {
            key: PROFILE,
            path: path.clone(),
            source,
        })?;
        CountryProfile::read(file).map_err(|error| ConfigError::Invalid {
            key: format!("{PROFILE} ({})", path.display()),
            reason: error.to_string().replace('\n', ", "),
        })
    }

    /// Reads the key by which what is known of parties is sealed; nothing if none is set.
    ///
    /// # Errors
    ///
    /// When its file cannot be read, is open to others, or holds something else.
    pub fn party_key(&self) -> Result<Option<[u8; KEY_SIZE]>, ConfigError> {
        let Some(file) = &self.party_key_file else { return Ok(None) };
        let secret = secret_file::read(PARTY_KEY_FILE, file)?;
        let mut key = [0; KEY_SIZE];
        hex::decode_to_slice(secret.expose_secret(), &mut key).map_err(|_| ConfigError::Invalid {
            key: format!("{PARTY_KEY_FILE} ({})", file.display()),
            reason: format!("holds no key: {} hexadecimal digits", 2 * KEY_SIZE),
        })?;
        Ok(Some(key))
    }
}
