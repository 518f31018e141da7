//! Writes the records of a field day as JSON lines: contacts, their assignments and the activities of these.
//!
//! The same options give the same bytes on every machine; `tests/data/field-day.jsonl` is what the defaults give.
//! All people are put together from lists of common names, and no phone number here can be issued.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;

use haversack_protocol::UnixMillis;
use serde_json::{Value, json};

use vocabulary::{
    CLOSINGS, CONTACT_CLOSINGS, CONTACT_OPENINGS, EMOJI, FIRST_NAMES, GOAL_CONDITIONS, GOALS, LANGUAGES,
    LAST_NAMES, LOCATIONS, MIDDLES, OPENINGS, PLACES, STREETS, TAGS, TOPICS,
};

const HELP: &str = "\
Writes invented records of mentors in the field to standard output, one JSON object a line.

Usage: cargo run -p haversack-tests --bin generate-field-day -- [OPTIONS] > tests/data/field-day.jsonl

Options:
  --seed N         Where the invention starts; the same seed gives the same bytes [default: 20260914]
  --contacts N     People who are followed up [default: 200]
  --assignments N  Agreements, each with one contact [default: 200]
  --activities N   Visits, walks and calls, each under one assignment [default: 800]
  --help           Shows this text

Each line is one record:
  {\"key\":\"assignment-001\",\"device\":\"mentor-1\",\"collection\":\"assignment\",\"fields\":{\"contact\":\"contact-001\"}}
`key` is unique in the output. A reference holds the key of an earlier line, so the lines can be read in order.
`device` says whose phone registers the record: a contact, its assignments and their activities share one.
tests/data/README.md describes the form of each kind of field.

Examples:
  A small day to look at:   generate-field-day -- --contacts 2 --assignments 2 --activities 6
  Another day of one size:  generate-field-day -- --seed 7
";

/// What records are put together from; packed, since one word a line would be half of this file.
#[rustfmt::skip]
mod vocabulary {
    pub(super) const FIRST_NAMES: [&str; 48] = [
        "Åse", "Øyvind", "Kjærsti", "Bjørg", "Ragnhild", "Torbjørn", "Synnøve", "Håkon", "Marit", "Sølvi",
        "Pål", "Ingebjørg", "Amina", "Yusuf", "Oksana", "Dmytro", "Hodan", "Abdi", "Selam", "Yonas", "Jørgen",
        "Gunnhild", "Asbjørn", "Turid", "Sigrun", "Eirik", "Máret", "Ánte", "Solfrid", "Kåre", "Bente",
        "Trygve", "Leila", "Farid", "Agnieszka", "Tomasz", "Oddbjørg", "Steinar", "Vigdis", "Magne", "Aslaug",
        "Roald", "Randi", "Ståle", "Gro Anette", "Per Gunnar", "Anne-Lise", "Øystein",
    ];

    pub(super) const LAST_NAMES: [&str; 50] = [
        "Bækkelund", "Østerås", "Ågedal", "Solbakken", "Nordgård", "Myrvåg", "Haugerød", "Sæther", "Tømmerås",
        "Strømsnes", "Fjellvær", "Lillebø", "Vågsberg", "Øvrelid", "Kvåle", "Brattebø", "Rødseth", "Hammerås",
        "Skjærvik", "Bjørnstad", "Grønlien", "Støren", "Håvardsen", "Sørbråten", "Tveitå", "Engebråten",
        "Warsame", "Tesfay", "Kovalenko", "Haddad", "Nowicka", "Rahimi", "Somby", "Utsi", "Mørkved",
        "Langåsen", "Kjølberg", "Ødegården", "Trædal", "Fossmo", "Blåfjell", "Sandvær", "Røyrvik", "Nesbøen",
        "Lundemo", "Aspelund", "Hegstad", "Kleivane", "Rønningen", "Torgersrud",
    ];

    pub(super) const STREETS: [&str; 32] = [
        "Bjørkeveien", "Østre Rosenlundgate", "Skolebakken", "Fjordgløttveien", "Kirkestubben", "Måkeveien",
        "Søndre Brygge", "Lærerveien", "Smørbukkstien", "Gamle Åsvei", "Nedre Møllegate", "Tømmerveien",
        "Prestegårdsjordet", "Havnesvingen", "Rødkløverveien", "Øvre Torggate", "Jernbanekroken", "Sagfløyta",
        "Blåbærlia", "Stasjonsalléen", "Kvernhusveien", "Lyngåsen", "Vestre Strandgate", "Fiskerstuveien",
        "Sjøbodkaia", "Meieritunet", "Granittveien", "Lillehagen", "Bakkehøgda", "Rognebærstien",
        "Nordlysveien", "Fløterbrua",
    ];

    pub(super) const PLACES: [(&str, &str); 20] = [
        ("0190", "Oslo kommune"), ("5003", "Bergen"), ("7010", "Trondheim"), ("4006", "Stavanger"),
        ("9008", "Tromsø kommune"), ("8006", "Bodø kommune"), ("6002", "Ålesund"), ("2815", "Gjøvik kommune"),
        ("3181", "Horten"), ("1767", "Halden"), ("9510", "Alta kommune"), ("2406", "Elverum"),
        ("6150", "Ørsta kommune"), ("9800", "Vadsø kommune"), ("2609", "Lillehammer"), ("4836", "Arendal"),
        ("2000", "Lillestrøm"), ("3616", "Kongsberg"), ("8514", "Narvik"), ("2340", "Løten kommune"),
    ];

    pub(super) const LANGUAGES: [&str; 12] = [
        "norsk bokmål", "norsk nynorsk", "nordsamisk", "engelsk", "ukrainsk", "arabisk", "somali", "tigrinja",
        "polsk", "dari", "spansk", "tyrkisk",
    ];

    pub(super) const CONTACT_OPENINGS: [&str; 16] = [
        "Bor alene i andre etasje, og heisen er ofte ute av drift.",
        "Ønsker å bli ringt etter klokka ti, gjerne på fasttelefonen.",
        "Har nøkkel liggende hos naboen i underetasjen.",
        "Hører dårlig på venstre øre, så sett deg på høyre side.",
        "Er glad i å fortelle om årene på fiskebåt utenfor Værøy.",
        "Kom til kommunen i fjor vår sammen med to søsken.",
        "Går på norskkurs tre formiddager i uka på voksenopplæringa.",
        "Vil helst møtes ute, på tur eller på en kafé i sentrum.",
        "Har hund som må luftes før vi kan dra noe sted.",
        "Leser lokalavisa grundig og vil gjerne diskutere den.",
        "Bruker rullator innendørs og rullestol på lengre turer.",
        "Snakker lite norsk ennå, men forstår det meste som blir sagt.",
        "Har meldt seg som frivillig på bruktbutikken på hjørnet.",
        "Er nyinnflyttet og kjenner foreløpig ingen i nabolaget.",
        "Trenger hjelp til å lese brev fra kommunen og fra banken.",
        "Baker lefse hver høst og deler raust med alle som stikker innom.",
    ];

    pub(super) const CONTACT_CLOSINGS: [&str; 12] = [
        "Ring på to ganger og vent litt.", "Parkering på baksiden, ved søppelskuret.",
        "Søsteren er nærmeste pårørende.", "Allergisk mot nøtter og skalldyr.",
        "Vil ha påminnelse dagen før.", "Foretrekker samme mentor hver gang.",
        "Takket ja til å være med på høstfesten.", "Porten er låst etter klokka åtte.",
        "Liker best å snakke på telefon om kvelden.", "Bussen stopper rett utenfor døra.",
        "Skal på ferie hos datteren i uke førti.", "Trenger god tid på trappene.",
    ];

    pub(super) const GOALS: [&str; 12] = [
        "Komme seg ut av huset minst to ganger i uka gjennom vinteren",
        "Bli trygg nok på norsk til å ta telefonen selv",
        "Finne en praksisplass i butikk eller på verksted før jul",
        "Bli kjent med andre i nabolaget og få faste treffpunkter",
        "Lære å bruke nettbanken og BankID uten hjelp fra andre",
        "Ta opp igjen korsangen etter lang tids sykdom", "Skrive søknad og øve på jobbintervju",
        "Få orden på papirer, regninger og avtaler med kommunen",
        "Trene seg opp til å gå turen rundt vannet på egen hånd",
        "Fullføre førerkortet klasse B i løpet av våren",
        "Melde seg inn i et idrettslag og delta på faste treninger",
        "Holde kontakten med familien, også de som bor langt unna",
    ];

    pub(super) const GOAL_CONDITIONS: [&str; 10] = [
        "med støtte fra mentor i starten", "og vurdere framgangen sammen hver måned",
        "så langt helsa tillater det", "i samarbeid med frivilligsentralen",
        "med en kort prat på telefon mellom møtene", "helst sammen med en jevnaldrende",
        "og feire hvert delmål med kaffe og vafler", "i et tempo som kjennes trygt",
        "med oppstart så snart avtalen er signert", "etter ønske fra vedkommende selv",
    ];

    pub(super) const TOPICS: [&str; 12] = [
        "språktrening", "jobbsøking", "økonomi og gjeld", "fysisk aktivitet", "nettverk", "digital hverdag",
        "matlaging", "kultur og musikk", "førerkort", "skole og lekser", "friluftsliv", "håndarbeid",
    ];

    pub(super) const LOCATIONS: [&str; 20] = [
        "Biblioteket, andre etasje", "Kafé Kjøkkenskriveren", "Frivilligsentralen", "Hjemme hos kontakten",
        "Turstien rundt Svarttjønn", "Svømmehallen", "Lekeplassen på Øvre Haug", "Rådhusets servicetorg",
        "Bruktbutikken ved brua", "Voksenopplæringa, rom 214", "Kirkestua", "Butikken ved rundkjøringa",
        "Besøkssenteret i parken", "Gapahuken på Blåbærhøgda", "Kulturskolens øvingsrom",
        "Båthavna, brygge C", "Legesenteret", "NAV-kontoret", "Bydelshuset, store sal",
        "Klubbhuset på idrettsplassen",
    ];

    pub(super) const TAGS: [&str; 12] = [
        "første møte", "oppfølging", "tur i nærmiljøet", "måltid", "språkøving", "søknadsskriving",
        "lege og tannlege", "kommunale tjenester", "musikk", "avlyst og flyttet", "pårørende", "godt humør",
    ];

    pub(super) const OPENINGS: [&str; 24] = [
        "Vi gikk en rolig runde og tok pause på benken ved vannet.",
        "Møttes over kaffe og snakket om uka som har gått.",
        "Øvde på å fylle ut skjemaet fra kommunen sammen.",
        "Hjalp til med å bære inn ved før kulda setter inn.",
        "Kort samtale på telefon, han var sliten etter legetimen.",
        "Leste høyt fra avisa og stoppet ved de vanskelige ordene.",
        "Kokte fiskesuppe etter oppskrift fra bestemoren hennes.",
        "Var på jobbmesse og fikk snakket med tre arbeidsgivere.",
        "Gikk gjennom regningene og satte opp en plan for høsten.",
        "Tok bussen til sentrum for å øve på å bytte linje.",
        "Så på gamle bilder fra tida som lærling på verftet.",
        "Spilte to partier sjakk og drakk altfor mye solbærtoddy.",
        "Fulgte til tannlegen og ventet til behandlingen var ferdig.",
        "Prøvde den nye gangstien mellom skolen og kirkegården.",
        "Ryddet i boden og fant fram skiene til vinteren.",
        "Øvde på intervju med spørsmål vi hadde skrevet ned.",
        "Plukket tyttebær bak hyttefeltet og fylte to små spann.",
        "Var på åpen kveld i strikkekafeen og ble godt mottatt.",
        "Satte opp nettbanken på nytt etter bytte av telefon.",
        "Snakket lenge om savnet etter dem som ble igjen hjemme.",
        "Besøkte bruktbutikken og kjøpte ei vinterjakke.",
        "Begynte på brevet til søsteren, skriver videre neste gang.",
        "Hørte på korøvelsen fra galleriet og sang med på slutten.",
        "Møtet ble flyttet inn på grunn av regn og sterk vind.",
    ];

    pub(super) const MIDDLES: [&str; 24] = [
        "Humøret var bedre enn sist.", "Hun ønsker å gjøre dette oftere.",
        "Vi ble enige om å øve litt hver dag.", "Han husket alle avtalene selv.",
        "Kneet er fortsatt ømt etter fallet.", "Naboen stakk innom med nybakte boller.",
        "Det var vanskelig å finne rette ord i starten.", "Søvnen har vært dårlig de siste nettene.",
        "Telefonen virker ikke inne i blokka.", "Vi lo mye, særlig av den gamle bilen.",
        "Han spurte om plass på datakurset.", "Hun fikk ros fra læreren i forrige uke.",
        "Tolken var på skjerm og lyden hakket.", "Døra til oppgangen må meldes til vaktmesteren.",
        "Han vil gjerne ha med en venn neste gang.", "Det gikk fint uten rullator på flat vei.",
        "Været holdt akkurat til vi var hjemme.", "Hun har begynt å hilse på de andre.",
        "Utgiftene er lagt ved som kvittering.", "Papirene ligger i den blå permen.",
        "Vi må ringe fastlegen om ny resept.", "Sønnen kommer på besøk til helga.",
        "Han ble overrasket over hvor lett det gikk.", "Katten Pusur fulgte oss hele veien.",
    ];

    pub(super) const CLOSINGS: [&str; 16] = [
        "Neste møte er avtalt til tirsdag.", "Ringer på fredag for å høre hvordan det går.",
        "Tar med kart og termos neste gang.", "Koordinator bør vite om dette.",
        "Ingen videre oppfølging nødvendig nå.", "Husk å bestille time på servicetorget.",
        "Må avklare skyss før neste tur.", "Vi fortsetter der vi slapp.", "Avtalt å møtes ved inngangen.",
        "Sender melding kvelden før.", "Skal spørre om rabattkort på bussen.",
        "Rapport følger når kvitteringen er klar.", "Ønsker seg en tur til fjorden.", "Alt i alt en fin dag.",
        "Låner bort boka til neste uke.", "Trenger nye batterier til høreapparatet.",
    ];

    pub(super) const EMOJI: [&str; 8] = [
        "🌲", "☕️", "👍🏽", "🚶‍♀️", "🎉", "🫐", "⛴️", "❤️",
    ];
}

/// Devices in the field with the mentor who carries each.
const MENTORS: [(&str, &str); 2] = [("mentor-1", "Sølvi Brattebø"), ("mentor-2", "Jørgen Ødegården")];

/// 2026-08-17, the Monday on which the assignments of the field day have begun at the latest.
const FIRST_DAY_MS: i64 = 1_786_924_800_000;
const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// Days over which activities are spread; the last one is 2026-09-20.
const DAYS: u64 = 35;
/// Bytes after which a note counts as long.
const LONG_NOTE_BYTES: usize = 2000;
/// Characters a usual note aims to stay within.
const NOTE_CHARS_MAX: usize = 178;

type Fields = BTreeMap<&'static str, Value>;

/// How much to invent, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    seed: u64,
    contacts: u64,
    assignments: u64,
    activities: u64,
}

const DEFAULTS: Options = Options { seed: 20_260_914, contacts: 200, assignments: 200, activities: 800 };

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Generate(Options),
}

fn main() -> ExitCode {
    let (text, code) = match request(std::env::args().skip(1)) {
        Ok(Request::Help) => (HELP.to_owned(), ExitCode::SUCCESS),
        Ok(Request::Generate(options)) => (generate(options), ExitCode::SUCCESS),
        Err(reason) => (reason, ExitCode::from(2)),
    };
    let written = if code == ExitCode::SUCCESS {
        io::stdout().write_all(text.as_bytes())
    } else {
        writeln!(io::stderr(), "{text}\nTry --help.")
    };
    written.map_or(ExitCode::FAILURE, |()| code)
}

/// Reads the command line; the error is a sentence for the one who typed it.
fn request(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut options = DEFAULTS;
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        let slot = match name.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--seed" => &mut options.seed,
            "--contacts" => &mut options.contacts,
            "--assignments" => &mut options.assignments,
            "--activities" => &mut options.activities,
            _ => return Err(format!("There is no option {name}.")),
        };
        let number = arguments.next().ok_or_else(|| format!("{name} needs a number after it."))?;
        *slot = number.parse().map_err(|_| format!("{name} needs a whole number, not {number}."))?;
    }
    if options.assignments > 0 && options.contacts == 0 {
        return Err("An assignment needs a contact: give --contacts at least 1.".to_owned());
    }
    if options.activities > 0 && options.assignments == 0 {
        return Err("An activity needs an assignment: give --assignments at least 1.".to_owned());
    }
    Ok(Request::Generate(options))
}

/// Invents all records, each line after those it refers to.
fn generate(options: Options) -> String {
    let mut chance = Chance { state: options.seed };
    let names_from = chance.below(NAME_COUNT);
    let mut lines = String::new();
    for index in 0..options.contacts {
        let fields = contact(&mut chance, names_from, index);
        lines.push_str(&line("contact", index, index, &fields));
    }
    for index in 0..options.assignments {
        let contact_index = index % options.contacts;
        let fields = assignment(&mut chance, contact_index);
        lines.push_str(&line("assignment", index, contact_index, &fields));
    }
    for index in 0..options.activities {
        let assignment_index = chance.below(options.assignments);
        let fields = activity(&mut chance, index, assignment_index);
        lines.push_str(&line("activity", index, assignment_index % options.contacts, &fields));
    }
    lines
}

/// One record as a line; contacts alternate between the devices, and what hangs on a contact stays with it.
fn line(collection: &str, index: u64, contact_index: u64, fields: &Fields) -> String {
    let device = mentor_of(contact_index).0;
    let key = key(collection, index);
    format!(
        "{{\"key\":\"{key}\",\"device\":\"{device}\",\"collection\":\"{collection}\",\"fields\":{}}}\n",
        json!(fields)
    )
}

fn key(collection: &str, index: u64) -> String {
    format!("{collection}-{:03}", index + 1)
}

fn mentor_of(contact_index: u64) -> (&'static str, &'static str) {
    if contact_index.is_multiple_of(2) { MENTORS[0] } else { MENTORS[1] }
}

const NAME_COUNT: u64 = (FIRST_NAMES.len() * LAST_NAMES.len()) as u64;
/// Prime and no divisor of [`NAME_COUNT`], so that names repeat only after all were used.
const NAME_STRIDE: u64 = 1009;

fn contact(chance: &mut Chance, names_from: u64, index: u64) -> Fields {
    let name = ((names_from + index * NAME_STRIDE) % NAME_COUNT) as usize;
    let (first, last) = (FIRST_NAMES[name % FIRST_NAMES.len()], LAST_NAMES[name / FIRST_NAMES.len()]);
    let (postcode, municipality) = chance.pick(&PLACES);
    let language = chance.pick(&LANGUAGES);
    let born_on = day_text(FIRST_DAY_MS - DAY_MS * (6570 + chance.below(26_000) as i64));
    let house =
        format!("{} {}{}", chance.pick(&STREETS), 1 + chance.below(180), chance.pick(&["", "A", "B"]));
    let notes = if index % 100 == 41 {
        long_note(chance, &CONTACT_OPENINGS, &CONTACT_CLOSINGS)
    } else {
        note(chance, &[&CONTACT_OPENINGS, &CONTACT_CLOSINGS, &CONTACT_CLOSINGS])
    };
    BTreeMap::from([
        ("name", json!(format!("{first} {last}"))),
        ("born_on", json!(born_on)),
        ("phone", json!(phone(chance))),
        ("street", json!(house)),
        ("postcode", json!(postcode)),
        ("municipality", json!(municipality)),
        ("language", json!(language)),
        ("needs_interpreter", json!(!language.starts_with("norsk") && chance.one_in(2))),
        ("notes", json!(notes)),
    ])
}

/// A number that cannot be issued: no Norwegian subscriber number of eight digits begins with 0.
fn phone(chance: &mut Chance) -> String {
    let (first, middle, last) = (chance.below(100), chance.below(1000), chance.below(100));
    format!("+47 0{first:02} {last:02} {middle:03}")
}

fn assignment(chance: &mut Chance, contact_index: u64) -> Fields {
    let start = FIRST_DAY_MS - DAY_MS * chance.below(240) as i64;
    BTreeMap::from([
        ("contact", json!(key("contact", contact_index))),
        ("mentor", json!(mentor_of(contact_index).1)),
        ("goal", json!(format!("{}, {}.", chance.pick(&GOALS), chance.pick(&GOAL_CONDITIONS)))),
        ("start", json!(day_text(start))),
        ("status", json!(chance.pick(&["planned", "active", "active", "active", "paused", "completed"]))),
        ("weekly_hours", json!(1.0 + chance.below(20) as f64 * 0.25)),
        ("visits", json!(chance.below(12))),
        ("topics", chance.subset(&TOPICS)),
    ])
}

fn activity(chance: &mut Chance, index: u64, assignment_index: u64) -> Fields {
    let kind = chance.pick(&["meeting", "home_visit", "phone_call", "walk", "course", "outing"]);
    let day = chance.below(DAYS) as i64;
    let minute = (7 * 60 + 5 * chance.below(144)) as i64;
    let length = if kind == "phone_call" { 5 * (1 + chance.below(9)) } else { 5 * (4 + chance.below(68)) };
    let notes = if index % 100 == 57 {
        long_note(chance, &OPENINGS, &MIDDLES)
    } else {
        note(chance, &[&OPENINGS, &MIDDLES, &CLOSINGS])
    };
    let mut fields = BTreeMap::from([
        ("assignment", json!(key("assignment", assignment_index))),
        ("kind", json!(kind)),
        ("started_at", json!(UnixMillis(FIRST_DAY_MS + day * DAY_MS + minute * MINUTE_MS).to_string())),
        ("minutes", json!(length)),
        ("status", json!(chance.pick(&["registered", "registered", "registered", "reported", "approved"]))),
        ("notes", json!(notes)),
        ("met_in_person", json!(kind != "phone_call")),
        ("participants", json!(if chance.one_in(4) { 3 + chance.below(12) } else { 2 })),
        ("tags", chance.subset(&TAGS)),
        ("calls", json!(chance.below(5))),
    ]);
    if kind != "phone_call" {
        fields.insert("location", json!(chance.pick(&LOCATIONS)));
        fields.insert("travel_km", json!(format!("{}.{}", chance.below(60), chance.below(10))));
    }
    if chance.one_in(3) {
        fields.insert("expenses", json!(format!("{}.{:02}", 15 + chance.below(700), 50 * chance.below(2))));
    }
    if index % 40 == 19 {
        fields.insert("signature", json!(signature(chance)));
    }
    fields
}

fn day_text(ms: i64) -> String {
    let mut text = UnixMillis(ms).to_string();
    text.truncate("YYYY-MM-DD".len());
    text
}

/// One sentence of each stock while they fit, now and then closed by a picture.
fn note(chance: &mut Chance, stocks: &[&[&str]]) -> String {
    let mut text = String::new();
    for stock in stocks {
        let sentence = chance.pick(stock);
        if text.is_empty() {
            text.push_str(sentence);
        } else if text.chars().count() + 1 + sentence.chars().count() <= NOTE_CHARS_MAX - 4
            && !text.contains(sentence)
        {
            text.push(' ');
            text.push_str(sentence);
        }
    }
    if chance.one_in(10) {
        text.push(' ');
        text.push_str(chance.pick(&EMOJI));
    }
    text
}

/// A note as written by someone who had the whole evening.
fn long_note(chance: &mut Chance, openings: &[&str], middles: &[&str]) -> String {
    let mut paragraphs = Vec::new();
    let mut bytes = 0;
    while bytes < LONG_NOTE_BYTES {
        let paragraph = format!("{} {}", chance.pick(openings), note(chance, &[middles, &CLOSINGS]));
        bytes += paragraph.len();
        paragraphs.push(paragraph);
    }
    paragraphs.join("\n")
}

/// 48 bytes of a pen's path in base64; a multiple of three bytes needs no padding.
fn signature(chance: &mut Chance) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..64).map(|_| char::from(ALPHABET[chance.below(64) as usize])).collect()
}

/// Chance that repeats itself: SplitMix64, the same on every machine.
struct Chance {
    state: u64,
}

impl Chance {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<T: Copy>(&mut self, stock: &[T]) -> T {
        stock[self.below(stock.len() as u64) as usize]
    }

    /// One to three different elements, in the order of the stock.
    fn subset(&mut self, stock: &[&str]) -> Value {
        let mut chosen: Vec<usize> =
            (0..=self.below(3)).map(|_| self.below(stock.len() as u64) as usize).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen.into_iter().map(|index| stock[index]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use haversack_protocol::{FieldKind, FieldSchema, Schema, check_date};

    use super::*;

    const SHIPPED: &str = include_str!("../../data/field-day.jsonl");
    const SCHEMA: &str = include_str!("../../data/field-day.schema.json");
    const RULES: &str = include_str!("../../data/field-day.rules.json");

    struct Line {
        key: String,
        device: String,
        collection: String,
        fields: serde_json::Map<String, Value>,
    }

    fn read(text: &str) -> Vec<Line> {
        let member = |value: &Value, name: &str| value[name].as_str().expect("a text").to_owned();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .map(|value| Line {
                key: member(&value, "key"),
                device: member(&value, "device"),
                collection: member(&value, "collection"),
                fields: value["fields"].as_object().expect("an object").clone(),
            })
            .collect()
    }

    fn asked(words: &[&str]) -> Result<Request, String> {
        request(words.iter().map(|word| (*word).to_owned()))
    }

    fn is_decimal(text: &str) -> bool {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        text.split_once('.').is_some_and(|(whole, fraction)| digits(whole) && digits(fraction))
    }

    fn is_base64(text: &str) -> bool {
        let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        !text.is_empty() && text.len().is_multiple_of(4) && text.bytes().all(is_sign)
    }

    fn has_form(kind: FieldKind, value: &Value) -> bool {
        let text = value.as_str();
        match kind {
            FieldKind::Text | FieldKind::Reference => text.is_some_and(|text| !text.is_empty()),
            FieldKind::Integer | FieldKind::Counter => value.is_i64(),
            FieldKind::Float => value.is_f64(),
            FieldKind::Boolean => value.is_boolean(),
            FieldKind::Instant => text.is_some_and(|text| {
                text.parse::<UnixMillis>().is_ok_and(|instant| instant.to_string() == text)
            }),
            FieldKind::Date => text.is_some_and(|text| check_date(text).is_ok()),
            FieldKind::Decimal => text.is_some_and(is_decimal),
            FieldKind::Bytes => text.is_some_and(is_base64),
            FieldKind::Set => value.as_array().is_some_and(|set| {
                let elements: BTreeSet<_> = set.iter().filter_map(Value::as_str).collect();
                !set.is_empty() && elements.len() == set.len() && elements.iter().all(|text| text.len() <= 64)
            }),
        }
    }

    fn is_within(field: &FieldSchema, value: &Value) -> bool {
        let text = value.as_str().unwrap_or_default();
        let number = value.as_f64().or_else(|| text.parse().ok());
        (field.one_of.is_empty() || field.one_of.iter().any(|allowed| allowed == text))
            && field.max_bytes.is_none_or(|most| text.len() <= most)
            && field.min.is_none_or(|least| number.is_some_and(|number| least <= number))
            && field.max.is_none_or(|most| number.is_some_and(|number| number <= most))
    }

    #[test]
    fn the_defaults_reproduce_the_shipped_file_byte_for_byte() {
        assert!(generate(DEFAULTS) == SHIPPED, "tests/data/field-day.jsonl is not what the defaults give");
        assert!(SHIPPED.len() < 900_000);
    }

    #[test]
    fn another_seed_gives_other_records() {
        assert!(generate(Options { seed: 7, ..DEFAULTS }) != SHIPPED);
    }

    #[test]
    fn the_shipped_counts_are_kept_and_both_devices_have_about_half() {
        let lines = read(SHIPPED);
        let keys: BTreeSet<_> = lines.iter().map(|line| line.key.as_str()).collect();
        assert_eq!(keys.len(), lines.len(), "keys are unique");
        for (collection, count) in [("contact", 200), ("assignment", 200), ("activity", 800)] {
            let of_it: Vec<_> = lines.iter().filter(|line| line.collection == collection).collect();
            assert_eq!(of_it.len(), count);
            let first = of_it.iter().filter(|line| line.device == "mentor-1").count();
            let second = of_it.iter().filter(|line| line.device == "mentor-2").count();
            assert_eq!(first + second, count);
            assert!(first.abs_diff(second) <= count / 8, "{collection}: {first} and {second}");
        }
    }

    #[test]
    fn references_point_at_earlier_lines_of_the_target_and_device_and_chain_three_records() {
        let schema = Schema::from_json(SCHEMA).expect("a schema");
        let small = Options { seed: 3, contacts: 3, assignments: 7, activities: 40 };
        for text in [SHIPPED, &generate(small)] {
            let mut chain: BTreeMap<String, (String, String, usize)> = BTreeMap::new();
            for line in read(text) {
                let collection = schema.collection(&line.collection).expect("a collection");
                let mut length = 1;
                for (name, field) in collection.references() {
                    let target = line.fields[name].as_str().expect("a key");
                    let (found, device, below) = chain.get(target).expect("an earlier line");
                    assert_eq!(Some(found), field.target.as_ref());
                    assert_eq!(device, &line.device);
                    length = length.max(below + 1);
                }
                let expected = match line.collection.as_str() {
                    "contact" => 1,
                    "assignment" => 2,
                    _ => 3,
                };
                assert_eq!(length, expected);
                chain.insert(line.key, (line.collection, line.device, length));
            }
        }
    }

    #[test]
    fn every_value_has_the_form_of_its_kind_and_every_kind_occurs() {
        let schema = Schema::from_json(SCHEMA).expect("a schema");
        let mut kinds = BTreeSet::new();
        for line in read(SHIPPED) {
            let collection = schema.collection(&line.collection).expect("a collection");
            for (name, value) in &line.fields {
                let field = collection.field(name).expect("a field of the schema");
                assert!(has_form(field.kind, value), "{} {name}", line.key);
                assert!(is_within(field, value), "{} {name}", line.key);
                kinds.insert(field.kind);
            }
            for (name, field) in &collection.fields {
                assert!(
                    !field.required || line.fields.contains_key(name.as_str()),
                    "{} lacks {name}",
                    line.key
                );
            }
        }
        assert_eq!(kinds.len(), 11);
    }

    #[test]
    fn every_shipped_record_satisfies_the_rules_about_values_and_writers() {
        let rules: Value = serde_json::from_str(RULES).expect("JSON");
        let lines = read(SHIPPED);
        for rule in rules["rules"].as_array().expect("a list") {
            let (kind, check) =
                rule["check"].as_object().and_then(|check| check.iter().next()).expect("one key");
            for line in lines.iter().filter(|line| rule["collection"] == line.collection.as_str()) {
                let value = check["field"].as_str().and_then(|name| line.fields.get(name));
                let holds = match kind.as_str() {
                    "required" => value.is_some(),
                    "range" => value.and_then(Value::as_f64).is_none_or(|number| {
                        check["min"].as_f64().is_none_or(|least| least <= number)
                            && check["max"].as_f64().is_none_or(|most| number <= most)
                    }),
                    "one_of" => {
                        value.is_none_or(|value| check["values"].as_array().expect("a list").contains(value))
                    }
                    "states" => value
                        .and_then(Value::as_str)
                        .is_none_or(|state| check["from"].as_object().expect("states").contains_key(state)),
                    "write" => {
                        value.is_none()
                            || check["roles"].as_array().expect("roles").contains(&json!("mentor"))
                    }
                    "override" => true,
                    other => panic!("no such check: {other}"),
                };
                assert!(holds, "{} {}", rule["name"], line.key);
            }
        }
    }

    #[test]
    fn the_minutes_rule_is_stricter_than_the_schema() {
        let schema = Schema::from_json(SCHEMA).expect("a schema");
        let rules: Value = serde_json::from_str(RULES).expect("JSON");
        let minutes =
            schema.collection("activity").and_then(|activity| activity.field("minutes")).expect("there");
        let ruled = rules["rules"][0]["check"]["range"]["max"].as_f64().expect("a number");
        assert!(ruled < 900.0 && is_within(minutes, &json!(900)));
    }

    #[test]
    fn notes_vary_and_hold_norwegian_letters_pictures_and_a_few_long_texts() {
        let notes: Vec<String> = read(SHIPPED)
            .iter()
            .filter_map(|line| Some(line.fields.get("notes")?.as_str()?.to_owned()))
            .collect();
        let long = notes.iter().filter(|note| note.len() >= LONG_NOTE_BYTES).count();
        let usual = notes.iter().filter(|note| (60..=180).contains(&note.chars().count())).count();
        assert_eq!((notes.len(), long, usual), (1000, 10, 990));
        assert!(notes.iter().collect::<BTreeSet<_>>().len() > 950);
        assert!(
            EMOJI.iter().chain(&["æ", "ø", "å"]).all(|sign| notes.iter().any(|note| note.contains(sign)))
        );
    }

    #[test]
    fn a_wrong_command_line_is_explained() {
        let options = Options { seed: 7, activities: 5, ..DEFAULTS };
        assert_eq!(asked(&["--seed", "7", "--activities", "5"]), Ok(Request::Generate(options)));
        assert_eq!(asked(&["--help"]), Ok(Request::Help));
        for words in [
            &["--sede", "7"][..],
            &["--seed"],
            &["--seed", "x"],
            &["--contacts", "0"],
            &["--assignments", "0"],
        ] {
            assert!(asked(words).is_err(), "{words:?}");
        }
    }
}
