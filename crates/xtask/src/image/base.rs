//! The lowest layer: what programs of the distribution's release need to run, and no program at all.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Read as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use super::{
    debian::{Package, Release},
    layer::{Content, Entry, Layer},
    oci,
};

/// Who runs in the image: a number above those of systems, the same as in other images without a shell.
pub(super) const USER: u32 = 65532;

/// Folders of merged /usr: the names at the root are links, which packages of older releases still write through.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Makes the layer of the packages' files and of what their installation scripts would have made.
pub(super) fn layer(release: &Release, packages: &[Package]) -> anyhow::Result<Layer> {
    let mut layer = Layer::new(format!("{}: libraries, certificates, time zones", release.name));
    let mut certificates = BTreeMap::new();
    for package in packages {
        let files = unpack(package).with_context(|| format!("cannot unpack {}", package.file.display()))?;
        for (path, entry) in files {
            if is_certificate(&path) {
                certificates.insert(path, entry);
            } else if is_kept(&path, matches!(entry, Entry::Symlink { .. })) {
                layer.add(&path, entry)?;
            }
        }
        // Where scanners of images without a package manager look for what is installed.
        let status = format!("var/lib/dpkg/status.d/{}", package.name);
        add_text(&mut layer, &status, package.control.text())?;
    }
    add_bundle(&mut layer, &certificates)?;
    add_system(&mut layer)?;
    Ok(layer)
}

/// The package's files by their paths in the image. A package of the base is small enough for memory.
fn unpack(package: &Package) -> anyhow::Result<BTreeMap<String, Entry>> {
    let mut unpacker = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(&package.file)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let archive = unpacker.stdout.take().context("dpkg-deb has no output")?;
    let files = read(tar::Archive::new(archive));
    let status = unpacker.wait()?;
    let files = files?;
    ensure!(status.success(), "dpkg-deb ended with {status}");
    Ok(files)
}

fn read(mut archive: tar::Archive<impl std::io::Read>) -> anyhow::Result<BTreeMap<String, Entry>> {
    let mut files = BTreeMap::new();
    for file in archive.entries()? {
        let mut file = file?;
        let path = file.path()?.to_str().map(image_path).context("a path is not UTF-8")?;
        let target = file.link_name()?.map(|target| target.to_string_lossy().into_owned());
        let entry = match (file.header().entry_type(), target) {
            (tar::EntryType::Directory, _) => continue,
            (tar::EntryType::Symlink, Some(target)) => Entry::Symlink { target },
            (tar::EntryType::Link, Some(target)) => {
                let target = image_path(&target);
                files.get(&target).cloned().with_context(|| format!("{path} is a link to nothing"))?
            }
            (tar::EntryType::Regular, _) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                let executable = file.header().mode()? & 0o100 != 0;
                Entry::File { content: Content::Bytes(bytes), mode: if executable { 0o755 } else { 0o644 } }
            }
            (kind, _) => bail!("{path} is of the kind {kind:?}"),
        };
        files.insert(path, entry);
    }
    Ok(files)
}

/// A path of a package, such as `./lib/x`, as it is with merged /usr: `usr/lib/x`.
fn image_path(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) && first != path { format!("usr/{path}") } else { path.to_owned() }
}

fn is_certificate(path: &str) -> bool {
    path.starts_with("usr/share/ca-certificates/mozilla/")
}

/// Whether a file of a package goes into the image. What is not named here stays out, so that no later version of a
/// package brings a program along.
fn is_kept(path: &str, is_link: bool) -> bool {
    match path {
        // Which release this is.
        "etc/debian_version" | "etc/os-release" | "usr/lib/os-release" => true,
        // The licences: the texts, and who holds the copyright.
        _ if path.starts_with("usr/share/common-licenses/") => true,
        _ if path.starts_with("usr/share/doc/") => match path.split('/').collect::<Vec<_>>()[3..] {
            [_, "copyright"] => true,
            // Packages of one source share their folder.
            [_] => is_link,
            _ => false,
        },
        // Once, without the copies that count leap seconds.
        _ if path.starts_with("usr/share/zoneinfo/") => {
            !["posix/", "right/"].iter().any(|copy| path["usr/share/zoneinfo/".len()..].starts_with(copy))
        }
        _ if path.starts_with("usr/lib/locale/C.utf8/") => true,
        _ => is_library(path),
    }
}

/// Whether this is a library that programs are linked with. Deeper down are plugins, such as the 8 MB by which iconv
/// converts between character sets that nobody here uses.
fn is_library(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    let folder = folder.strip_prefix("usr/lib").unwrap_or("no");
    let direct =
        folder.is_empty() || folder == "64" || (folder.starts_with('/') && folder.matches('/').count() == 1);
    direct && name.split('.').skip(1).any(|part| part == "so")
}

/// The certificates in the one file where OpenSSL and rustls look for them, as `update-ca-certificates` makes it.
fn add_bundle(layer: &mut Layer, certificates: &BTreeMap<String, Entry>) -> anyhow::Result<()> {
    let mut bundle = Vec::new();
    for entry in certificates.values() {
        let Entry::File { content: Content::Bytes(bytes), .. } = entry else { continue };
        bundle.extend_from_slice(bytes.trim_ascii_end());
        bundle.push(b'\n');
    }
    ensure!(!bundle.is_empty(), "the package ca-certificates has no certificates");
    layer.add_file("etc/ssl/certs/ca-certificates.crt", Content::Bytes(bundle), 0o644)
}

/// Users, name resolution, folders and links.
fn add_system(layer: &mut Layer) -> anyhow::Result<()> {
    add_text(layer, "etc/passwd", &passwd())?;
    add_text(layer, "etc/group", &group())?;
    add_text(layer, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")?;
    // Operators of ONNX that lower or raise the case of text (StringNormalizer) want the locale en_US.UTF-8 unless a model
    // names another, and fail without it. Of a locale they only use the table of cases, which is Unicode's in both.
    layer.add_symlink("usr/lib/locale/en_US.utf8", "C.utf8")?;
    for link in MERGED {
        // arm64 has no lib64.
        if link != "lib64" || oci::architecture()? == "amd64" {
            layer.add_directory(&format!("usr/{link}"), 0o755)?;
            layer.add_symlink(link, format!("usr/{link}"))?;
        }
    }
    // Container runtimes mount over the first four.
    for folder in ["dev", "proc", "run", "sys", "root", "var/log"] {
        layer.add_directory(folder, 0o755)?;
    }
    for folder in ["tmp", "var/tmp"] {
        layer.add_directory(folder, 0o1777)?;
    }
    Ok(())
}

fn add_text(layer: &mut Layer, path: &str, text: &str) -> anyhow::Result<()> {
    layer.add_file(path, Content::Bytes(text.as_bytes().to_vec()), 0o644)
}

/// Names and homes by number. Nobody can log in: there is no shell and no password.
fn passwd() -> String {
    let users = [(0, "root", "/root"), (USER, "modelwright", "/tmp")];
    users.iter().fold(String::new(), |mut text, (id, name, home)| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name}:x:{id}:{id}:{name}:{home}:/usr/sbin/nologin");
        text
    })
}

fn group() -> String {
    format!("root:x:0:\nmodelwright:x:{USER}:\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_merged_usr() {
        for (path, expected) in [
            ("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
            ("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
            ("./usr/lib/os-release", "usr/lib/os-release"),
            ("./etc/host.conf", "etc/host.conf"),
            // base-files of newer releases brings the links themselves.
            ("./lib", "lib"),
            ("./library/x", "library/x"),
        ] {
            assert_eq!(image_path(path), expected);
        }
    }

    #[test]
    fn libraries_data_and_licences_are_kept_and_programs_are_not() {
        for (path, is_link, expected) in [
            ("usr/lib/x86_64-linux-gnu/libc.so.6", false, true),
            ("usr/lib/x86_64-linux-gnu/libstdc++.so.6", true, true),
            ("usr/lib64/ld-linux-x86-64.so.2", true, true),
            ("usr/lib/ld-linux-aarch64.so.1", true, true),
            ("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", false, false),
            ("usr/lib/locale/C.utf8/LC_CTYPE", false, true),
            ("usr/share/zoneinfo/Europe/Berlin", false, true),
            ("usr/share/zoneinfo/right/Europe/Berlin", false, false),
            ("usr/share/common-licenses/GPL-3", false, true),
            ("usr/share/doc/libc6/copyright", false, true),
            ("usr/share/doc/libc6/changelog.gz", false, false),
            ("usr/share/doc/ca-certificates/examples/debian/copyright", false, false),
            ("usr/share/doc/libgcc-s1", true, true),
            ("usr/share/gdb/auto-load/usr/lib/libstdc++.so.6.0.30-gdb.py", false, false),
            ("usr/bin/ld.so", true, false),
            ("usr/sbin/ldconfig", false, false),
            ("bin", true, false),
        ] {
            assert_eq!(is_kept(path, is_link), expected, "{path}");
        }
    }

    #[test]
    fn package_is_read_with_its_links_and_modes() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |kind, path: &str, mode, target: Option<&str>, content: &str| {
            let mut header = super::super::layer::header(kind, mode, content.len() as u64);
            match target {
                Some(target) => archive.append_link(&mut header, path, target).unwrap(),
                None => archive.append_data(&mut header, path, content.as_bytes()).unwrap(),
            }
        };
        add(tar::EntryType::Directory, "./lib/", 0o755, None, "");
        add(tar::EntryType::Regular, "./lib/libx.so.1", 0o700, None, "x");
        add(tar::EntryType::Link, "./usr/lib/libhard.so", 0o700, Some("./lib/libx.so.1"), "");
        add(tar::EntryType::Symlink, "./usr/lib/libx.so", 0o777, Some("libx.so.1"), "");
        let bytes = archive.into_inner().unwrap();
        let file = Entry::File { content: Content::Bytes(b"x".to_vec()), mode: 0o755 };
        let expected = BTreeMap::from([
            ("usr/lib/libhard.so".to_owned(), file.clone()),
            ("usr/lib/libx.so".to_owned(), Entry::Symlink { target: "libx.so.1".into() }),
            ("usr/lib/libx.so.1".to_owned(), file),
        ]);
        assert_eq!(read(tar::Archive::new(bytes.as_slice())).unwrap(), expected);
    }

    #[test]
    fn users_have_numbers_homes_and_no_shell() {
        assert_eq!(
            passwd(),
            "root:x:0:0:root:/root:/usr/sbin/nologin\nmodelwright:x:65532:65532:modelwright:/tmp:/usr/sbin/nologin\n"
        );
        assert_eq!(group(), "root:x:0:\nmodelwright:x:65532:\n");
    }
}
