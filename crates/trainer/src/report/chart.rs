//! A chart as SVG inside the page.
//!
//! Colours are of middle brightness, so that they can be seen on white and on black. Axes and their texts are drawn in a
//! colour that nothing else has, which is then replaced by `currentColor`: they follow the page. The texts of a chart are
//! numbers and words of this crate; names from the data stand in the page's own text, which the browser lays out.

use std::fmt::Write as _;

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::{Color as _, RGBColor, TRANSPARENT};

use super::ReportError;
use super::axis::Axis;
use super::html;

/// Of the first, second … series.
pub(super) const COLORS: [RGBColor; 10] = [
    RGBColor(0x3b, 0x82, 0xc4),
    RGBColor(0xe0, 0x7b, 0x2e),
    RGBColor(0x2f, 0x9e, 0x6b),
    RGBColor(0xc9, 0x4f, 0x6d),
    RGBColor(0x8a, 0x6b, 0xd1),
    RGBColor(0xa0, 0x85, 0x2c),
    RGBColor(0x2a, 0x9d, 0xa8),
    RGBColor(0xb8, 0x5c, 0xb0),
    RGBColor(0x6f, 0x8f, 0x3a),
    RGBColor(0x7d, 0x87, 0x94),
];
/// Of everything that is not data.
pub(super) const INK: RGBColor = RGBColor(0x01, 0x02, 0x03);
/// [`INK`] as plotters writes it.
const INK_WRITTEN: &str = "\"#010203\"";
/// plotters divides by 1.24 what it is given: 12 pixels.
const FONT_SIZE: f64 = 14.88;
/// Width of a character of that size, with some room.
const CHARACTER: u32 = 8;

/// A chart of numbers over numbers.
pub(super) struct Chart<'a> {
    /// What it shows, for those who cannot see it.
    pub(super) description: String,
    /// Width and height in pixels.
    pub(super) size: (u32, u32),
    /// From left to right, and what it is.
    pub(super) x: (Axis, &'a str),
    /// From below to above, and what it is.
    pub(super) y: (Axis, &'a str),
    /// What is drawn, the first at the bottom.
    pub(super) shapes: Vec<Shape>,
}

/// Something on a chart.
pub(super) enum Shape {
    /// A line from point to point.
    Line { points: Vec<(f64, f64)>, color: RGBColor, opacity: f64, width: u32 },
    /// Dots, through which others can be seen.
    Dots { points: Vec<(f64, f64)>, color: RGBColor },
    /// Bars that stand on 0: from, to, height.
    Bars { bars: Vec<(f64, f64, f64)>, color: RGBColor },
}

impl Shape {
    /// A thin line that is no data.
    pub(super) fn guide(points: Vec<(f64, f64)>) -> Self {
        Self::Line { points, color: INK, opacity: 0.45, width: 1 }
    }

    /// A line of data.
    pub(super) fn line(points: Vec<(f64, f64)>, color: RGBColor) -> Self {
        Self::Line { points, color, opacity: 1.0, width: 2 }
    }
}

type Backend<'a> = SVGBackend<'a>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

impl Chart<'_> {
    /// The chart as an element `svg`.
    pub(super) fn svg(&self) -> Result<String, ReportError> {
        let mut svg = String::new();
        let drawn = {
            let area = SVGBackend::with_string(&mut svg, self.size).into_drawing_area();
            self.draw(&area)
        };
        drawn.map_err(|cause| ReportError::Drawing {
            chart: self.description.clone(),
            cause: cause.to_string(),
        })?;
        let label = format!("<svg role=\"img\" aria-label=\"{}\" ", html::sentence(&self.description));
        Ok(svg.replacen("<svg ", &label, 1).replace(INK_WRITTEN, "\"currentColor\""))
    }

    fn draw(&self, area: &DrawingArea<Backend<'_>, Shift>) -> Drawn {
        let characters = u32::try_from(self.y.0.label_width()).unwrap_or(0);
        let font = ("sans-serif", FONT_SIZE, &INK);
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(18)
            .x_label_area_size(46)
            .y_label_area_size(30 + CHARACTER * characters)
            .build_cartesian_2d(self.x.0.clone(), self.y.0.clone())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.12))
            .axis_style(INK.mix(0.35))
            .label_style(font)
            .axis_desc_style(font)
            .x_desc(self.x.1)
            .y_desc(self.y.1)
            .draw()?;
        for shape in &self.shapes {
            shape.draw(&mut chart)?;
        }
        area.present()
    }
}

impl Shape {
    fn draw(&self, chart: &mut ChartContext<'_, Backend<'_>, Cartesian2d<Axis, Axis>>) -> Drawn {
        match self {
            Self::Line { points, color, opacity, width } => {
                let style = color.mix(*opacity).stroke_width(*width);
                chart.draw_series([PathElement::new(points.clone(), style)])?;
            }
            Self::Dots { points, color } => {
                let style = color.mix(0.55).filled();
                chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, style)))?;
            }
            Self::Bars { bars, color } => {
                let style = color.mix(0.85).filled();
                chart.draw_series(bars.iter().map(|&(from, to, height)| {
                    let mut bar = Rectangle::new([(from, 0.0), (to, height)], style);
                    bar.set_margin(0, 0, 0, 1);
                    bar
                }))?;
            }
        }
        Ok(())
    }
}

/// A chart with its caption and the names of its series; `caption` and names are HTML already.
pub(super) fn figure(caption: &str, svg: &str, series: &[(RGBColor, String)]) -> String {
    let mut figure = format!("<figure>\n<figcaption>{caption}</figcaption>\n{svg}");
    if !series.is_empty() {
        figure.push_str("<ul class=\"legend\">");
        for &(color, ref name) in series {
            let RGBColor(red, green, blue) = color;
            let background = if color == INK {
                "currentColor".to_owned()
            } else {
                format!("#{red:02x}{green:02x}{blue:02x}")
            };
            let _ = write!(figure, "<li><i style=\"background:{background}\"></i>{name}</li>");
        }
        figure.push_str("</ul>\n");
    }
    figure + "</figure>\n"
}

/// At most about `most` of the points, evenly spaced, with the first and the last.
pub(super) fn thinned<T: Copy>(points: &[T], most: usize) -> Vec<T> {
    let step = points.len().div_ceil(most.max(1)).max(1);
    let mut kept: Vec<T> = points.iter().copied().step_by(step).collect();
    if let Some(&last) = points.last().filter(|_| !(points.len() - 1).is_multiple_of(step)) {
        kept.push(last);
    }
    kept
}
