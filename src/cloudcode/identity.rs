//! How this client describes itself in the body of account calls (spec `http-api.md` §6.7).

use serde::{Serialize, Serializer};

/// The `metadata` member of `loadCodeAssist` and `onboardUser`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientMetadata {
    /// The kind of client.
    pub ide_type: IdeType,
    /// Operating system and processor.
    pub platform: Platform,
    /// The kind of extension in it.
    pub plugin_type: PluginType,
    /// The account's own project, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duet_project: Option<String>,
}

impl ClientMetadata {
    /// This machine's client, with the account's own project when it is known.
    #[must_use]
    pub fn new(duet_project: Option<&str>) -> Self {
        Self {
            ide_type: IdeType::Antigravity,
            platform: Platform::current(),
            plugin_type: PluginType::Gemini,
            duet_project: duet_project.map(str::to_owned),
        }
    }
}

/// The kind of client; sent as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum IdeType {
    /// The vendor's desktop client.
    Antigravity = 9,
}

/// The kind of extension; sent as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PluginType {
    /// The coding assistant.
    Gemini = 2,
}

/// Operating system and processor; sent as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Platform {
    /// Anything else.
    Unknown = 0,
    /// macOS on Intel.
    DarwinX64 = 1,
    /// macOS on Apple silicon.
    DarwinArm64 = 2,
    /// Linux on x86-64.
    LinuxX64 = 3,
    /// Linux on 64-bit Arm.
    LinuxArm64 = 4,
    /// Windows on x86-64.
    WindowsX64 = 5,
}

impl Platform {
    /// The platform this program was built for.
    #[must_use]
    pub fn current() -> Self {
        Self::of(std::env::consts::OS, std::env::consts::ARCH)
    }

    fn of(os: &str, arch: &str) -> Self {
        match (os, arch) {
            ("macos", "x86_64") => Self::DarwinX64,
            ("macos", "aarch64") => Self::DarwinArm64,
            ("linux", "x86_64") => Self::LinuxX64,
            ("linux", "aarch64") => Self::LinuxArm64,
            ("windows", _) => Self::WindowsX64,
            _ => Self::Unknown,
        }
    }
}

impl Serialize for IdeType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl Serialize for PluginType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientMetadata, IdeType, Platform, PluginType};

    #[test]
    fn enums_travel_as_numbers() {
        let metadata = ClientMetadata {
            ide_type: IdeType::Antigravity,
            platform: Platform::of("linux", "x86_64"),
            plugin_type: PluginType::Gemini,
            duet_project: None,
        };
        assert_eq!(serde_json::to_string(&metadata).unwrap(), r#"{"ideType":9,"platform":3,"pluginType":2}"#);
        assert_eq!(Platform::of("macos", "aarch64"), Platform::DarwinArm64);
        assert_eq!(Platform::of("freebsd", "x86_64"), Platform::Unknown);
    }
}
