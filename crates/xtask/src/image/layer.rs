//! A layer of an image: a tree of files, written as a tar archive with the same bytes every time.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};

/// What a file of a layer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// A file on this machine, read when the layer is written and never held in memory.
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory { mode: u32 },
    File { content: Content, mode: u32 },
    Symlink { target: String },
}

/// Files, folders and symbolic links by their paths in the image.
///
/// Everything belongs to root, has the time 0 and comes in the order of its path, so the archive depends on nothing
/// but what was added.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    title: String,
    /// Keys are relative and clean; a folder's key sorts before those of what is in it.
    entries: BTreeMap<String, Entry>,
}

/// Mode of folders that nobody asked for by themselves.
const FOLDER: u32 = 0o755;

impl Layer {
    /// An empty layer. The title says what is in it, for people who look at the image's history.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), entries: BTreeMap::new() }
    }

    /// A layer of (path in the image, file on this machine, mode).
    pub(crate) fn from_files<'a>(
        title: impl Into<String>,
        files: impl IntoIterator<Item = (&'a str, &'a Path, u32)>,
    ) -> anyhow::Result<Self> {
        let mut layer = Self::new(title);
        for (path, file, mode) in files {
            ensure!(
                file.is_file(),
                "{} is no file, so it cannot become /{path} in the image",
                file.display()
            );
            layer.add_file(path, Content::File(file.into()), mode)?;
        }
        Ok(layer)
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn add_file(&mut self, path: &str, content: Content, mode: u32) -> anyhow::Result<()> {
        self.add(path, Entry::File { content, mode })
    }

    pub(crate) fn add_directory(&mut self, path: &str, mode: u32) -> anyhow::Result<()> {
        self.add(path, Entry::Directory { mode })
    }

    pub(crate) fn add_symlink(&mut self, path: &str, target: impl Into<String>) -> anyhow::Result<()> {
        self.add(path, Entry::Symlink { target: target.into() })
    }

    /// Adds an entry and the folders above it.
    ///
    /// # Errors
    /// Fails if the path is not clean, is there already, or leads through something that is no folder: container runtimes
    /// differ in what they make of such archives.
    pub(crate) fn add(&mut self, path: &str, entry: Entry) -> anyhow::Result<()> {
        let clean = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        ensure!(clean, "{path:?} is no path in an image: write it relative to the root, without . and ..");
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            match self.entries.get(parent) {
                Some(Entry::Directory { .. }) => {}
                Some(_) => bail!("/{path} is below /{parent}, which is no folder"),
                None => {
                    self.entries.insert(parent.to_owned(), Entry::Directory { mode: FOLDER });
                }
            }
        }
        match (self.entries.get(path), &entry) {
            (None, _) | (Some(Entry::Directory { .. }), Entry::Directory { .. }) => {}
            _ => bail!("/{path} is in the layer twice"),
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    /// The names of its files, folders and links, without their folders.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|path| path.rsplit('/').next().unwrap_or(path))
    }

    /// Writes the archive. Long names take GNU's form, which every container runtime reads.
    pub(super) fn write_tar(&self, to: impl Write) -> anyhow::Result<()> {
        let mut archive = tar::Builder::new(to);
        for (path, entry) in &self.entries {
            append(&mut archive, path, entry).with_context(|| format!("cannot write /{path}"))?;
        }
        archive.into_inner()?.flush()?;
        Ok(())
    }
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, entry: &Entry) -> anyhow::Result<()> {
    match entry {
        Entry::Directory { mode } => {
            let mut header = header(tar::EntryType::Directory, *mode, 0);
            archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Entry::Symlink { target } => {
            let mut header = header(tar::EntryType::Symlink, 0o777, 0);
            archive.append_link(&mut header, path, target)?;
        }
        Entry::File { content: Content::Bytes(bytes), mode } => {
            let mut header = header(tar::EntryType::Regular, *mode, bytes.len() as u64);
            archive.append_data(&mut header, path, bytes.as_slice())?;
        }
        Entry::File { content: Content::File(file), mode } => {
            let open = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
            let size = open.metadata()?.len();
            let mut content = open.take(size);
            archive.append_data(&mut header(tar::EntryType::Regular, *mode, size), path, &mut content)?;
            ensure!(content.limit() == 0, "{} became shorter while it was read", file.display());
        }
    }
    Ok(())
}

pub(super) fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (path, type, mode, link or content) of every entry, and that nothing in its header depends on this machine.
    fn read(archive: &[u8]) -> Vec<(String, char, u32, String)> {
        let mut archive = tar::Archive::new(archive);
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let kind = match header.entry_type() {
                tar::EntryType::Directory => 'd',
                tar::EntryType::Symlink => 'l',
                _ => '-',
            };
            let mut content = String::new();
            match entry.link_name().unwrap() {
                Some(target) => content.push_str(target.to_str().unwrap()),
                None => drop(entry.read_to_string(&mut content).unwrap()),
            }
            (path, kind, header.mode().unwrap(), content)
        });
        read.collect()
    }

    fn tar(layer: &Layer) -> Vec<u8> {
        let mut bytes = Vec::new();
        layer.write_tar(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn entries_come_back_in_order_with_modes_links_and_long_names() {
        let long = format!("usr/{}/{}", "a".repeat(90), "b".repeat(120));
        let target = format!("/{}", "c".repeat(150));
        let mut layer = Layer::new("test");
        layer.add_symlink("usr/link", target.as_str()).unwrap();
        layer.add_directory("tmp", 0o1777).unwrap();
        layer.add_file(&long, Content::Bytes(b"long".to_vec()), 0o400).unwrap();
        layer.add_file("etc/key", Content::Bytes(b"key".to_vec()), 0o600).unwrap();
        let folder = long.rsplit_once('/').unwrap().0;
        let expected = [
            ("etc/", 'd', 0o755, ""),
            ("etc/key", '-', 0o600, "key"),
            ("tmp/", 'd', 0o1777, ""),
            ("usr/", 'd', 0o755, ""),
            (&format!("{folder}/"), 'd', 0o755, ""),
            (&long, '-', 0o400, "long"),
            ("usr/link", 'l', 0o777, &target),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(p, k, m, c)| ((*p).to_owned(), *k, *m, (*c).to_owned())).collect();
        assert_eq!(read(&tar(&layer)), expected);
    }

    #[test]
    fn paths_that_runtimes_read_differently_are_refused() {
        let mut layer = Layer::new("test");
        layer.add_symlink("lib", "usr/lib").unwrap();
        layer.add_file("etc/passwd", Content::Bytes(vec![]), 0o644).unwrap();
        for path in
            ["", "/etc/x", "../x", "a/./b", "a//b", "a/", "etc/passwd", "etc", "lib/x", "etc/passwd/x"]
        {
            layer.add_file(path, Content::Bytes(vec![]), 0o644).unwrap_err();
        }
    }

    #[test]
    fn missing_file_is_named_with_its_place() {
        let missing = Path::new("/nonexistent/tool");
        let error = Layer::from_files("test", [("usr/bin/tool", missing, 0o755)]).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/tool") && error.contains("/usr/bin/tool"), "{error}");
    }
}
