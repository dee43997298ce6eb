//! Where the desktop application keeps its sign-in.

use std::path::{Path, PathBuf};

/// The application's folders, the usual one first.
const FOLDERS: [&str; 2] = ["Antigravity", "Antigravity IDE"];

/// The database that is there, else the usual one; `None` without a home directory (spec `http-api.md` §7).
#[must_use]
pub fn desktop_database() -> Option<PathBuf> {
    let home = std::env::home_dir().filter(|home| home.is_absolute())?;
    let mut places = candidates(&home);
    let there = places.iter().position(|place| place.is_file()).unwrap_or_default();
    Some(places.swap_remove(there))
}

fn candidates(home: &Path) -> Vec<PathBuf> {
    let settings = match std::env::consts::OS {
        "macos" => "Library/Application Support",
        "windows" => "AppData/Roaming",
        _ => ".config",
    };
    let place = |folder: &&str| home.join(settings).join(folder).join("User/globalStorage/state.vscdb");
    FOLDERS.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_usual_place_comes_first() {
        let places = candidates(Path::new("/home/u"));
        assert_eq!(places[0], Path::new("/home/u/.config/Antigravity/User/globalStorage/state.vscdb"));
        assert_eq!(places[1], Path::new("/home/u/.config/Antigravity IDE/User/globalStorage/state.vscdb"));
    }
}
