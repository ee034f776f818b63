//! Libraries by the names of NVIDIA's, for a PyTorch that only computes on CPUs.
//!
//! The wheel of PyTorch on PyPI is linked with CUDA, 4 GB of libraries that do nothing on a node without a GPU but must be there
//! when it is loaded. What stands in for them has their functions, and each answers the error that there is no device.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// How the names of the libraries begin, and of their functions.
const LIBRARIES: [&str; 4] = ["libcu", "libnccl", "libnvrtc", "libnvshmem"];
const FUNCTIONS: [&str; 4] = ["cu", "nccl", "nvrtc", "nvshmem"];
/// `cudaErrorNoDevice`: PyTorch then counts no GPU and goes on.
const NO_DEVICE: u32 = 100;

/// What libraries ask of others, as `readelf` tells it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    libraries: BTreeSet<String>,
    /// The library that each version of functions is of.
    versions: BTreeMap<String, String>,
    /// Functions by their versions; the empty one for those without.
    functions: BTreeMap<String, BTreeSet<String>>,
    defined: BTreeSet<String>,
}

impl Wanted {
    /// Reads what `readelf --wide --dynamic --version-info --dyn-syms` said of a library.
    fn read(&mut self, said: &str) {
        let mut file = "";
        for line in said.lines().map(str::trim) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some((_, library)) = line.split_once("(NEEDED)") {
                let name = library.split(['[', ']']).nth(1).unwrap_or_default();
                self.libraries.insert(name.to_owned());
            } else if let Some((_, rest)) = line.split_once("File: ") {
                file = rest.split_whitespace().next().unwrap_or_default();
            } else if let Some((_, rest)) = line.split_once("Name: ").filter(|_| line.contains("Flags:")) {
                let version = rest.split_whitespace().next().unwrap_or_default();
                if line.starts_with("0x") && !file.is_empty() {
                    self.versions.insert(version.to_owned(), file.to_owned());
                }
            } else if let [_, _, _, _, binding, _, place, symbol, ..] = words[..] {
                let (name, version) = symbol.split_once('@').unwrap_or((symbol, ""));
                match (binding, place) {
                    ("GLOBAL", "UND") => {
                        self.functions.entry(version.to_owned()).or_default().insert(name.to_owned());
                    }
                    ("GLOBAL" | "WEAK", place) if place != "UND" => {
                        self.defined.insert(name.to_owned());
                    }
                    _ => {}
                }
            }
        }
    }

    /// The source and the version script of each library that is not `there`.
    fn stand_ins(&self, there: &BTreeSet<String>) -> BTreeMap<String, (String, String)> {
        let is_missing = |name: &&String| {
            LIBRARIES.iter().any(|start| name.starts_with(start)) && !there.contains(name.as_str())
        };
        let mut made: BTreeMap<String, (String, String)> =
            self.libraries.iter().filter(is_missing).map(|name| (name.clone(), Default::default())).collect();
        // A function without a version may be in any library, so all of them are in the first.
        let first = made.keys().next().cloned();
        for (version, functions) in &self.functions {
            let library = if version.is_empty() { first.as_ref() } else { self.versions.get(version) };
            let Some((source, script)) = library.and_then(|library| made.get_mut(library)) else { continue };
            let functions = functions.iter().filter(|name| {
                !version.is_empty()
                    || (FUNCTIONS.iter().any(|start| name.starts_with(start))
                        && !self.defined.contains(*name))
            });
            let mut names = String::new();
            // Writing to a `String` cannot fail.
            for name in functions {
                let _ = writeln!(source, "int {name}(void) {{ return {NO_DEVICE}; }}");
                let _ = write!(names, " {name};");
            }
            if !version.is_empty() {
                let _ = writeln!(script, "{version} {{ global:{names} }};");
            }
        }
        made
    }
}

/// Makes the libraries of NVIDIA that those of `folder` need and that are not below it, in that folder.
pub(super) fn make(folder: &Path) -> anyhow::Result<()> {
    let libraries = libraries(folder)?;
    let mut wanted = Wanted::default();
    for library in &libraries {
        let output = Command::new("readelf")
            .args(["--wide", "--dynamic", "--version-info", "--dyn-syms"])
            .arg(library)
            .output()
            .context("cannot run readelf: install binutils")?;
        ensure!(output.status.success(), "readelf cannot read {}", library.display());
        wanted.read(&String::from_utf8_lossy(&output.stdout));
    }
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let work = tempfile::tempdir()?;
    let (file, map) = (work.path().join("stand_in.c"), work.path().join("versions"));
    for (library, (source, script)) in wanted.stand_ins(&libraries.iter().filter_map(name).collect()) {
        fs::write(&file, source)?;
        fs::write(&map, &script)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-w", &format!("-Wl,-soname,{library}")]);
        if !script.is_empty() {
            compiler.arg(format!("-Wl,--version-script={}", map.display()));
        }
        let status = compiler.arg("-o").arg(folder.join(&library)).arg(&file).status();
        let status = status.context("cannot run cc, the C compiler")?;
        ensure!(status.success(), "cc could not make what stands in for {library} and ended with {status}");
    }
    Ok(())
}

fn libraries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if file.is_file() && name.split('.').skip(1).any(|part| part == "so") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x0000000000000001 (NEEDED)             Shared library: [libcudart.so.13]
 0x0000000000000001 (NEEDED)             Shared library: [libcufile.so.0]
 0x0000000000000001 (NEEDED)             Shared library: [libnvshmem_host.so.3]
Symbol table '.dynsym' contains 4 entries:
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND cudaFree@libcudart.so.13 (7)
     2: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND nvshmem_free@NVSHMEM (8)
     3: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND cuFileRead
     4: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND PyList_New
     5: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND free@GLIBC_2.2.5 (2)
     6: 0000000000000000     0 NOTYPE  WEAK   DEFAULT  UND cuWeak
     7: 0000000000001000     8 FUNC    GLOBAL DEFAULT   11 cumulate
     8: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND cumulate
Version needs section '.gnu.version_r' contains 3 entries:
  000000: Version: 1  File: libc.so.6  Cnt: 1
  0x0010:   Name: GLIBC_2.2.5  Flags: none  Version: 2
  0x0020: Version: 1  File: libcudart.so.13  Cnt: 1
  0x0030:   Name: libcudart.so.13  Flags: none  Version: 7
  0x0040: Version: 1  File: libnvshmem_host.so.3  Cnt: 1
  0x0050:   Name: NVSHMEM  Flags: none  Version: 8
";

    #[test]
    fn missing_libraries_get_the_functions_that_are_asked_of_them() {
        let mut wanted = Wanted::default();
        wanted.read(SAID);
        let made = wanted.stand_ins(&BTreeSet::new());
        let names: Vec<_> = made.keys().map(String::as_str).collect();
        assert_eq!(names, ["libcudart.so.13", "libcufile.so.0", "libnvshmem_host.so.3"]);
        let (source, script) = &made["libcudart.so.13"];
        // The first takes those without a version.
        assert_eq!(source, "int cuFileRead(void) { return 100; }\nint cudaFree(void) { return 100; }\n");
        assert_eq!(script, "libcudart.so.13 { global: cudaFree; };\n");
        assert_eq!(made["libnvshmem_host.so.3"].1, "NVSHMEM { global: nvshmem_free; };\n");
        assert_eq!(made["libcufile.so.0"], (String::new(), String::new()));
    }

    #[test]
    fn libraries_that_are_there_are_left_as_they_are() {
        let mut wanted = Wanted::default();
        wanted.read(SAID);
        let there = ["libcudart.so.13", "libcufile.so.0"].map(str::to_owned).into();
        assert_eq!(wanted.stand_ins(&there).into_keys().collect::<Vec<_>>(), ["libnvshmem_host.so.3"]);
    }
}
