//! Drawings for the page of figures, as SVG: bars and lines on logarithmic scales, since systems differ by powers of ten.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const NAMES_WIDTH: f64 = 250.0;
const BAR_HEIGHT: f64 = 22.0;
const HEAD: f64 = 34.0;
const PLOT_HEIGHT: f64 = 300.0;
const EDGE: f64 = 60.0;
const LEGEND_WIDTH: f64 = 200.0;
const OURS: &str = "#0b6e4f";
const OTHERS: &str = "#8d99ae";
/// Told apart also by people who do not tell red from green; each line has its name beside it.
const COLOURS: [&str; 8] =
    [OURS, "#333333", "#b5651d", "#3a6ea5", "#7b4b94", "#c2410c", "#64748b", "#a16207"];

/// One bar of a drawing.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) is_ours: bool,
}

/// One line of a drawing, by its points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Bars one under the other; the shortest is a tenth of its decade long, so that lengths compare powers of ten.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = HEAD + BAR_HEIGHT * bars.len() as f64 + 8.0;
    let (low, high) = decades(bars.iter().map(|bar| bar.value));
    let mut svg = opening(title, height);
    for (at, bar) in bars.iter().enumerate() {
        let top = HEAD + BAR_HEIGHT * at as f64;
        let share = (bar.value.log10() - low) / (high - low);
        let length = (share * (WIDTH - NAMES_WIDTH - 110.0)).max(2.0);
        let colour = if bar.is_ours { OURS } else { OTHERS };
        let weight = if bar.is_ours { "bold" } else { "normal" };
        let (name, value) = (escaped(&bar.name), figure(bar.value));
        push(
            &mut svg,
            &format!(
                r#"<text x="{x}" y="{y}" text-anchor="end" font-weight="{weight}">{name}</text><rect x="{NAMES_WIDTH}" y="{top}" width="{length:.1}" height="{h}" fill="{colour}"/><text x="{end:.1}" y="{y}" font-weight="{weight}">{value} {unit}</text>"#,
                x = NAMES_WIDTH - 8.0,
                y = top + 14.0,
                h = BAR_HEIGHT - 5.0,
                end = NAMES_WIDTH + length + 6.0,
            ),
        );
    }
    svg + "</svg>\n"
}

/// Lines over a number of records.
pub(crate) fn lines(title: &str, unit: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (left, right) = decades(points().map(|point| point.0));
    let (low, high) = decades(points().map(|point| point.1));
    let (inner_width, bottom) = (WIDTH - EDGE - LEGEND_WIDTH, HEAD + PLOT_HEIGHT);
    let x = |value: f64| EDGE + (value.log10() - left) / (right - left) * inner_width;
    let y = |value: f64| bottom - (value.log10() - low) / (high - low) * PLOT_HEIGHT;
    let mut svg = opening(title, bottom + 40.0);
    for decade in low as i32..=high as i32 {
        let (value, place) = (10f64.powi(decade), y(10f64.powi(decade)));
        push(
            &mut svg,
            &format!(
                r##"<line x1="{EDGE}" x2="{end}" y1="{place:.1}" y2="{place:.1}" stroke="#d5d9e0"/><text x="{at}" y="{y:.1}" text-anchor="end">{value}</text>"##,
                end = EDGE + inner_width,
                at = EDGE - 6.0,
                y = place + 4.0,
                value = figure(value),
            ),
        );
    }
    for decade in left as i32..=right as i32 {
        let value = 10f64.powi(decade);
        push(
            &mut svg,
            &format!(
                r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{value}</text>"#,
                x = x(value),
                y = bottom + 18.0,
                value = figure(value),
            ),
        );
    }
    push(
        &mut svg,
        &format!(
            r#"<text x="{x}" y="{y}" text-anchor="middle">records; {unit} upwards</text>"#,
            x = EDGE + inner_width / 2.0,
            y = bottom + 34.0,
        ),
    );
    for (at, line) in lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let path: Vec<_> =
            line.points.iter().map(|(of, value)| format!("{:.1},{:.1}", x(*of), y(*value))).collect();
        push(
            &mut svg,
            &format!(
                r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>"#,
                path = path.join(" "),
                width = if at == 0 { 3.5 } else { 1.8 },
            ),
        );
        for (of, value) in &line.points {
            push(
                &mut svg,
                &format!(r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{colour}"/>"#, x(*of), y(*value)),
            );
        }
        let top = HEAD + 10.0 + 20.0 * at as f64;
        push(
            &mut svg,
            &format!(
                r#"<rect x="{left}" y="{y}" width="14" height="4" fill="{colour}"/><text x="{x}" y="{baseline}">{name}</text>"#,
                left = WIDTH - LEGEND_WIDTH + 16.0,
                y = top - 6.0,
                x = WIDTH - LEGEND_WIDTH + 36.0,
                baseline = top,
                name = escaped(&line.name),
            ),
        );
    }
    svg + "</svg>\n"
}

/// The powers of ten around all values; at least one between them.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.map(f64::log10).filter(|value| value.is_finite()) {
        (low, high) = (low.min(value.floor()), high.max(value.ceil()));
    }
    if low.is_finite() { (low, high.max(low + 1.0)) } else { (0.0, 1.0) }
}

fn opening(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12" fill="#1f2933" role="img" aria-label="{title}">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/><text x="12" y="20" font-size="14" font-weight="bold">{title}</text>
"##
    )
}

fn push(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("writing to a text cannot fail");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Three digits that count, thousands apart.
pub(crate) fn figure(value: f64) -> String {
    if value >= 1_000.0 {
        let digits = format!("{value:.0}");
        let mut apart = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                apart.push(',');
            }
            apart.push(digit);
        }
        return apart;
    }
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => trimmed(format!("{value:.1}")),
        _ => trimmed(format!("{value:.2}")),
    }
}

fn trimmed(number: String) -> String {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number }
}
