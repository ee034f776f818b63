//! A revision's folder on disk: every step into it by folder handles, never through a link.
//!
//! Whoever can write into the folder could put a symbolic link at a file's place and have this process overwrite, or
//! believe, something else. So each component is opened with `O_NOFOLLOW` relative to the handle of the one above, and
//! only regular files are read or replaced.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};

use crate::path::{RESERVED_PREFIX, printable};
use crate::{Error, MANIFEST_FILE, Manifest, RelativePath};

const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
/// The name of an unfinished manifest.
const UNFINISHED_MANIFEST: &str = ".modelwright-manifest.partial";

/// What stands at a name: whether it is a folder, or what it is if it is no regular file either.
type Kind = Result<bool, &'static str>;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder at `path`; the path itself may lead through links, which are the caller's own.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let handle =
            fs::open(path, flags, Mode::empty()).map_err(|error| Error::reading(path, error.into()))?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// Makes the folder if it is missing, and opens it.
    pub(crate) fn make(path: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(|error| Error::writing(path, error))?;
        Self::open(path).map_err(|error| match error {
            Error::CannotRead { path, source } => Error::writing(path, source),
            other => other,
        })
    }

    /// Keeps others from writing into the folder as long as this handle is open.
    pub(crate) fn lock(&self) -> Result<(), Error> {
        fs::flock(&self.handle, fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => Error::FolderInUse { path: self.path.clone() },
            other => Error::writing(&self.path, other.into()),
        })
    }

    /// The path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that `path` lies in; made, folder by folder, if `make`.
    pub(crate) fn parent_of(&self, path: &RelativePath, make: bool) -> Result<Self, Error> {
        let (folders, _) = path.split();
        let mut folder = Self {
            handle: self.handle.try_clone().map_err(|error| Error::reading(&self.path, error))?,
            path: self.path.clone(),
        };
        for name in folders {
            folder = folder.enter(name, make)?;
        }
        Ok(folder)
    }

    pub(crate) fn enter(&self, name: &str, make: bool) -> Result<Self, Error> {
        let path = self.path.join(name);
        if make {
            match fs::mkdirat(&self.handle, name, FOLDER_MODE) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(Error::writing(path, error.into())),
            }
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        match fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Self { handle, path }),
            Err(error) => Err(self.refusal(name).unwrap_or_else(|| Error::reading(path, error.into()))),
        }
    }

    /// What stands at `name` that is neither a folder nor a regular file.
    fn refusal(&self, name: &str) -> Option<Error> {
        let stat = fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let odd = !matches!(kind, FileType::RegularFile | FileType::Directory);
        odd.then(|| Error::UnsafeTarget { path: self.path.join(name), found: kind_name(stat.st_mode) })
    }

    /// Opens the regular file `name` for reading; `None` if there is nothing.
    pub(crate) fn read(&self, name: &str) -> Result<Option<File>, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.regular(name, fs::openat(&self.handle, name, flags, Mode::empty()))
    }

    /// Opens the regular file `name` for reading and writing; made if missing, its content kept.
    pub(crate) fn write(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = fs::openat(&self.handle, name, flags, FILE_MODE);
        if let Err(error) = opened {
            let path = self.path.join(name);
            return Err(self.refusal(name).unwrap_or_else(|| Error::writing(path, error.into())));
        }
        let file = self.regular(name, opened)?;
        file.ok_or_else(|| Error::writing(self.path.join(name), io::ErrorKind::NotFound.into()))
    }

    /// Makes the file `name` anew, empty, in place of a regular file of that name.
    pub(crate) fn replace(&self, name: &str) -> Result<File, Error> {
        self.check_target(name)?;
        self.remove(name)?;
        self.write(name)
    }

    fn regular(&self, name: &str, opened: rustix::io::Result<OwnedFd>) -> Result<Option<File>, Error> {
        let path = self.path.join(name);
        let handle = match opened {
            Ok(handle) => handle,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => {
                return Err(self.refusal(name).unwrap_or_else(|| Error::reading(path, error.into())));
            }
        };
        let stat = fs::fstat(&handle).map_err(|error| Error::reading(&path, error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            Ok(Some(File::from(handle)))
        } else {
            Err(Error::UnsafeTarget { path, found: kind_name(stat.st_mode) })
        }
    }

    /// Refuses a target that is there and no regular file.
    pub(crate) fn check_target(&self, name: &str) -> Result<(), Error> {
        match fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::reading(self.path.join(name), error.into())),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Ok(()),
            Ok(stat) => {
                Err(Error::UnsafeTarget { path: self.path.join(name), found: kind_name(stat.st_mode) })
            }
        }
    }

    /// Gives the finished file `from` its name `to`, and makes the change last.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.check_target(to)?;
        let writing = |error: rustix::io::Errno| Error::writing(self.path.join(to), error.into());
        fs::renameat(&self.handle, from, &self.handle, to).map_err(writing)?;
        fs::fsync(&self.handle).map_err(writing)
    }

    /// Writes `bytes` to the disk under `name`, whole or not at all; `unfinished` is its name until then.
    pub(crate) fn write_whole(&self, unfinished: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.remove(unfinished)?;
        let mut file = self.write(unfinished)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|error| Error::writing(self.path().join(name), error))?;
        self.rename(unfinished, name)
    }

    /// Writes the manifest; from then on the folder is a revision.
    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        self.write_whole(UNFINISHED_MANIFEST, MANIFEST_FILE, &manifest.to_bytes()?)
    }

    /// What lies in the folder: names, and whether each is a folder. Unfinished files of ours are left out, names that
    /// are no text refused, as is anything that is neither a folder nor a regular file.
    pub(crate) fn entries(&self) -> Result<Vec<(String, bool)>, Error> {
        self.first_entries(usize::MAX)
    }

    /// As [`entries`](Self::entries), but no more than so many of them: somebody else may have filled the folder.
    pub(crate) fn first_entries(&self, most: usize) -> Result<Vec<(String, bool)>, Error> {
        let stand = |(name, kind): (String, Kind)| match kind {
            Ok(is_folder) => Ok((name, is_folder)),
            Err(found) => Err(Error::UnsafeTarget { path: self.path.join(name), found }),
        };
        self.everything(most)?.into_iter().map(stand).collect()
    }

    /// The same without what is neither a folder nor a regular file.
    pub(crate) fn plain_entries(&self) -> Result<Vec<(String, bool)>, Error> {
        let plain = |(name, kind): (String, Kind)| Some((name, kind.ok()?));
        Ok(self.everything(usize::MAX)?.into_iter().filter_map(plain).collect())
    }

    /// Names, and whether each is a folder, or what it is if it is no regular file either.
    fn everything(&self, most: usize) -> Result<Vec<(String, Kind)>, Error> {
        let reading = |error: rustix::io::Errno| Error::reading(&self.path, error.into());
        let mut entries = Vec::new();
        for entry in fs::Dir::read_from(&self.handle).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            let bytes = entry.file_name().to_bytes();
            if matches!(bytes, b"." | b"..") || bytes.starts_with(RESERVED_PREFIX.as_bytes()) {
                continue;
            }
            if entries.len() == most {
                break;
            }
            let name = std::str::from_utf8(bytes).map_err(|_| Error::UnsafePath {
                path: printable(&String::from_utf8_lossy(bytes)),
                problem: "it is not UTF-8",
            })?;
            let stat = fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).map_err(reading)?;
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Ok(true),
                FileType::RegularFile => Ok(false),
                _ => Err(kind_name(stat.st_mode)),
            };
            entries.push((name.to_owned(), kind));
        }
        Ok(entries)
    }

    /// Bytes that are free for this process on the folder's disk.
    pub(crate) fn free_bytes(&self) -> Result<u64, Error> {
        let stat = fs::fstatvfs(&self.handle).map_err(|error| Error::reading(&self.path, error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Removes a folder of ours that holds nothing but files; nothing there is fine.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<(), Error> {
        let writing = |error: rustix::io::Errno| Error::writing(self.path.join(name), error.into());
        let stat = match fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            stat => stat.map_err(writing)?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return self.remove(name);
        }
        let inside = self.enter(name, false)?;
        for entry in fs::Dir::read_from(&inside.handle).map_err(writing)? {
            let entry = entry.map_err(writing)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                fs::unlinkat(&inside.handle, entry.file_name(), AtFlags::empty()).map_err(writing)?;
            }
        }
        fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR).map_err(writing)
    }

    /// Gives the finished folder `from` its name `to`, which must be free.
    pub(crate) fn rename_folder(&self, from: &str, to: &str) -> Result<(), Error> {
        fs::renameat(&self.handle, from, &self.handle, to)
            .map_err(|error| Error::writing(self.path.join(to), error.into()))
    }

    /// Removes a file of ours; nothing there is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::writing(self.path.join(name), error.into())),
        }
    }
}

/// The kind of a file by its mode, for messages.
pub(crate) fn kind_name(mode: u32) -> &'static str {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown kind",
    }
}
