//! Writes dense networks as ONNX files for the examples that measure: `x` FP32 `[-1, widths[0]]` through a matrix product and
//! `Relu` per layer to `y`.

use std::path::{Path, PathBuf};

use self::wire::{message, number, text};

mod wire;

/// Writes `model.onnx` into the folder, with its weights inside, and gives its path.
pub(crate) fn write(folder: &Path, widths: &[usize]) -> std::io::Result<PathBuf> {
    let (mut graph, mut seed) = (text(2, "dense"), 1_u32);
    let layers = widths.len() - 1;
    for layer in 0..layers {
        let (rows, columns) = (widths[layer], widths[layer + 1]);
        let name = |what: &str| format!("{what}{layer}");
        let input = if layer == 0 { "x".to_owned() } else { format!("relu{}", layer - 1) };
        let output = if layer + 1 == layers { "y".to_owned() } else { name("relu") };
        graph.extend(message(1, &node("MatMul", &[&input, &name("weight")], &name("product"))));
        graph.extend(message(1, &node("Relu", &[&name("product")], &output)));
        let values: Vec<u8> = (0..rows * columns)
            .flat_map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (((seed >> 16) as f32 / 65_536.0 - 0.5) / (rows as f32).sqrt()).to_le_bytes()
            })
            .collect();
        let tensor = [
            number(1, rows as u64),
            number(1, columns as u64),
            number(2, 1),
            text(8, &name("weight")),
            message(9, &values),
        ];
        graph.extend(message(5, &tensor.concat()));
    }
    graph.extend(message(11, &value("x", widths[0])));
    graph.extend(message(12, &value("y", widths[layers])));
    let opset = message(8, &[text(1, ""), number(2, 17)].concat());
    let path = folder.join("model.onnx");
    std::fs::write(&path, [number(1, 8), message(7, &graph), opset].concat())?;
    Ok(path)
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|input| text(1, input));
    inputs.chain(text(2, output)).chain(text(4, operator)).collect()
}

fn value(name: &str, width: usize) -> Vec<u8> {
    let dimensions = [message(1, &text(2, "n")), message(1, &number(1, width as u64))].concat();
    let tensor = [number(1, 1), message(2, &dimensions)].concat();
    [text(1, name), message(2, &message(1, &tensor))].concat()
}
