//! Drawings for the page of figures, as SVG: bars and lines on logarithmic scales, since systems differ by powers of ten.

use std::fmt::Write;

const WIDTH: f64 = 900.0;
const NAMES_WIDTH: f64 = 350.0;
const BAR_HEIGHT: f64 = 22.0;
const HEAD: f64 = 34.0;
const PLOT_HEIGHT: f64 = 300.0;
const EDGE: f64 = 80.0;
const LEGEND_WIDTH: f64 = 300.0;
const OURS: &str = "#0b6e4f";
const OTHERS: &str = "#8d99ae";
/// Dashes of our lines, which have one colour.
const DASHES: [&str; 3] = ["none", "12 5", "2 5"];
/// Of the other lines; each has its name beside it.
const COLOURS: [&str; 7] = ["#333333", "#b5651d", "#3a6ea5", "#7b4b94", "#c2410c", "#64748b", "#0891b2"];

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
    pub(crate) is_ours: bool,
}

/// Bars one under the other; their lengths grow with the logarithm, so that each has its figure beside it.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = HEAD + BAR_HEIGHT * bars.len() as f64 + 8.0;
    let (low, high) = decades(bars.iter().map(|bar| bar.value));
    let mut svg = opening(&format!("{title} (lengths logarithmic)"), height);
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
    let scales = Scales::around(lines);
    let mut svg = opening(title, BOTTOM + 40.0);
    scales.draw(&mut svg, unit);
    for (at, line) in lines.iter().enumerate() {
        let alike_before = lines[..at].iter().filter(|other| other.is_ours == line.is_ours).count();
        let (colour, dashes) = if line.is_ours {
            (OURS, DASHES[alike_before % DASHES.len()])
        } else {
            (COLOURS[alike_before % COLOURS.len()], DASHES[0])
        };
        let places: Vec<_> =
            line.points.iter().map(|(of, value)| (scales.x(*of), scales.y(*value))).collect();
        let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (path, width) = (path.join(" "), if line.is_ours { 3.5 } else { 1.8 });
        push(
            &mut svg,
            &format!(
                r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"/>"#
            ),
        );
        for (x, y) in places {
            push(&mut svg, &format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#));
        }
        let (left, baseline) = (WIDTH - LEGEND_WIDTH + 16.0, HEAD + 10.0 + 20.0 * at as f64);
        push(
            &mut svg,
            &format!(
                r#"<line x1="{left}" x2="{end}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"/><text x="{x}" y="{baseline}">{name}</text>"#,
                end = left + 30.0,
                y = baseline - 4.0,
                x = left + 36.0,
                name = escaped(&line.name),
            ),
        );
    }
    svg + "</svg>\n"
}

/// The powers of ten that two axes hold.
struct Scales {
    across: (f64, f64),
    upwards: (f64, f64),
}

const INNER_WIDTH: f64 = WIDTH - EDGE - LEGEND_WIDTH;
const BOTTOM: f64 = HEAD + PLOT_HEIGHT;

impl Scales {
    fn around(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        Self {
            across: decades(points().map(|point| point.0)),
            upwards: decades(points().map(|point| point.1)),
        }
    }

    fn x(&self, value: f64) -> f64 {
        EDGE + (value.log10() - self.across.0) / (self.across.1 - self.across.0) * INNER_WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (value.log10() - self.upwards.0) / (self.upwards.1 - self.upwards.0) * PLOT_HEIGHT
    }

    fn draw(&self, svg: &mut String, unit: &str) {
        let (end, names) = (EDGE + INNER_WIDTH, EDGE - 6.0);
        for value in (self.upwards.0 as i32..=self.upwards.1 as i32).map(|decade| 10f64.powi(decade)) {
            let (y, baseline, value) = (self.y(value), self.y(value) + 4.0, figure(value));
            push(
                svg,
                &format!(
                    r##"<line x1="{EDGE}" x2="{end}" y1="{y:.1}" y2="{y:.1}" stroke="#d5d9e0"/><text x="{names}" y="{baseline:.1}" text-anchor="end">{value}</text>"##
                ),
            );
        }
        let baseline = BOTTOM + 18.0;
        for value in (self.across.0 as i32..=self.across.1 as i32).map(|decade| 10f64.powi(decade)) {
            let (x, value) = (self.x(value), figure(value));
            push(svg, &format!(r#"<text x="{x:.1}" y="{baseline}" text-anchor="middle">{value}</text>"#));
        }
        let (middle, baseline) = (EDGE + INNER_WIDTH / 2.0, BOTTOM + 34.0);
        push(
            svg,
            &format!(
                r#"<text x="{middle}" y="{baseline}" text-anchor="middle">records; {unit} upwards; both logarithmic</text>"#
            ),
        );
    }
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
