//! Tests of `doubts`.

use super::*;
use crate::config::chain::{Chain, File};
use crate::config::{Loaded, parse};
use proptest::prelude::*;

/// A configuration of one file `f`.
#[track_caller]
fn load(text: &str) -> Loaded {
    let chain = Chain {
        files: vec![File {
            path: "f".into(),
            text: text.as_bytes().to_vec(),
        }],
        ..Chain::default()
    };
    parse(chain).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"))
}

/// What is told of a file, without its name.
#[track_caller]
fn told(text: &str) -> Vec<String> {
    let (warnings, more) = load(text).warnings(usize::MAX);
    assert_eq!(more, 0);
    let lines = warnings.iter().map(ToString::to_string);
    lines
        .map(|line| line.strip_prefix("f:").unwrap().to_string())
        .collect()
}

const JOB: &str = "[buildsequencer_job.a]\ncommand: x\n";

/// What is told of this command beside its key, which is that it is of job a in line 2.
#[track_caller]
fn of(command: &str) -> Vec<String> {
    let lines = told(&format!("[buildsequencer_job.a]\ncommand: {command}\n"));
    let message = |line: &String| line.strip_prefix("2: job a: ").unwrap().to_string();
    lines.iter().map(message).collect()
}

#[track_caller]
fn tells(command: &str, expected: &str) {
    let told = of(command);
    assert!(
        told.len() == 1 && told[0].contains(expected),
        "{command}\n{told:#?}"
    );
}

#[track_caller]
fn is_silent(text: &str) {
    let told = told(text);
    assert!(told.is_empty(), "{text}\n{told:#?}");
}

#[test]
fn what_only_a_shell_would_understand_is_an_argument() {
    assert_eq!(
        of("rm -rfv old >> cleanup.log 2>&1"),
        [
            "no shell reads this command, so rm gets '>>' and '2>&1' as arguments, just as they stand; \
          write: sh -c 'rm -rfv old >> cleanup.log 2>&1', or put quotes around what is meant to be an argument"
        ]
    );
    for (command, words) in [
        (
            "touch stamp && ./work || ./alarm",
            "touch gets '&&' and '||' as arguments",
        ),
        ("sh -c './work' > work.log", "sh gets '>' as an argument"),
        (
            "touch backup-$(date +%F).tar",
            "touch gets 'backup-$(date' as an argument",
        ),
        (
            "echo test | mail ops@example.com",
            "echo gets '|' as an argument",
        ),
        ("true --prep\t# Prep", "true gets '#' as an argument"),
        ("env >> /logs/p.log 2>&1", "env gets '>>' and '2>&1'"),
        (
            "test -x $HOME/daily && $HOME/daily",
            "test gets '$HOME/daily' and '&&' as arguments",
        ),
        ("rsync -a ~/src /dst", "rsync gets '~/src'"),
        ("cp a `date +%F`", "cp gets '`date' and '+%F`'"),
        (
            "rm -f /srv/st*.tmp 2>/dev/null",
            "rm gets '/srv/st*.tmp' and '2>/dev/null'",
        ),
        ("/usr/bin/sleep 5 &", "sleep gets '&'"),
        ("cat <in.txt", "cat gets '<in.txt'"),
        ("cat < in.txt", "cat gets '<'"),
        ("cat <<EOF", "cat gets '<<EOF'"),
        ("x 2>/dev/null", "x gets '2>/dev/null'"),
        (
            "x >/dev/null 2>&1 </dev/null &",
            "x gets '>/dev/null', '2>&1', '</dev/null' and '&'",
        ),
        ("x a;\tb", "x gets 'a;'"),
        ("echo \"$HOME\"", "echo gets '$HOME'"),
        ("echo ${HOME}", "echo gets '${HOME}'"),
        ("echo a$_b", "'a$_b'"),
        ("echo \"`date`\"", "'`date`'"),
        ("make DIR=$PWD", "'DIR=$PWD'"),
        ("ls /var/log/*", "'/var/log/*'"),
        ("ls */x", "'*/x'"),
        ("gzip ./*.log", "'./*.log'"),
        ("flock -n /l -c 'a | b' > c", "flock gets '>'"),
        ("sh script -c \"$X\"", "sh gets '$X'"),
        ("sh -c 'a' 'b' \"$X\"", "sh gets '$X'"),
        ("python3 -c \"print($x)\"", "python3 gets 'print($x)'"),
        ("ssh host uptime > log", "ssh gets '>'"),
        ("ssh -p 22 $HOST uptime", "ssh gets '$HOST'"),
        ("nice find / -name x | head", "nice gets '|'"),
        ("a $1 $2 $$ $? $HOME", "a gets '$HOME' as an argument"),
        ("a > b > c", "a gets '>' as an argument"),
    ] {
        tells(command, words);
    }
}

#[test]
fn what_is_to_be_written_instead_can_be_written() {
    tells("a > b", "write: sh -c 'a > b', or");
    // In single quotes it cannot stand.
    tells("a 'b' > c", "write: sh -c '...', or");
    // Beside the key, a comment would begin at the ';'.
    let lines = told("[buildsequencer_job.a]\ncommand:\n  true a ; b\n");
    assert!(lines[0].contains("write: sh -c '...', or"), "{lines:?}");
    tells(
        &format!("a > {}", "b".repeat(100)),
        "write: sh -c '...', or",
    );
    tells("a &> b", "write: bash -c 'a &> b', or");
    tells("diff <(a) b", "write: bash -c 'diff <(a) b', or");
    let lines = told(&format!("{JOB}[buildsequencer]\nsendmail: msmtp >> log\n"));
    let expected = "4: sendmail: no shell reads this command, so msmtp gets '>>' as an argument, just as it stands; \
                    put it into a script and name that, or put quotes around what is meant to be an argument";
    assert_eq!(lines, [expected]);
}

#[test]
fn a_program_that_is_written_for_a_shell_is_not_found() {
    for command in [
        "$HOME/bin/x",
        "~/bin/x a",
        "`which x`",
        "/opt/*/bin/x",
        "> log x",
    ] {
        let word = command.split(' ').next().unwrap();
        tells(
            command,
            &format!("so the program is looked for as '{word}'; write: sh -c '{command}'"),
        );
    }
}

#[test]
fn a_first_word_that_only_a_shell_knows_is_told_with_all_that_follows() {
    assert_eq!(
        of("cd /srv && make"),
        ["only a shell knows 'cd', and none reads this command; write: sh -c 'cd /srv && make'"]
    );
    for command in [
        "if true; then x; fi",
        "for i in 1 2; do x; done",
        "while :; do x; done",
        ". ./env",
        "ulimit -n 5",
        "export A=1",
        "set -e",
        "umask 022",
        "eval x",
        ": x",
        "! x",
        "{ x; }",
        "( cd x )",
        "(cd x; y)",
        "trap x EXIT",
        "exit",
        "case x in",
    ] {
        tells(command, "and none reads this command; write: sh -c '");
    }
    for command in [
        "source ./env",
        "[[ -e x ]]",
        "((x))",
        "pushd x",
        "declare x",
    ] {
        tells(command, "and none reads this command; write: ");
    }
    tells("source ./env", "write: bash -c 'source ./env'");
    tells(
        "exec /usr/bin/x",
        "only a shell knows 'exec', and none reads this command; leave it out",
    );
    assert_eq!(of("exec x > y").len(), 2);
}

#[test]
fn a_line_that_is_joined_to_the_next_is_read_as_one() {
    let line = |text: &str| format!("[buildsequencer_job.a]\ncommand: {text}\n");
    assert_eq!(told(&line("A\\\n  =b c")).len(), 1);
    assert_eq!(told(&line("c\\\n  d /x")).len(), 1);
    is_silent(&line("a\\\n  b /x"));
}

#[test]
fn a_variable_before_a_program_is_taken_for_it() {
    assert_eq!(
        of("FOO=bar cmd"),
        [
            "no shell reads this command, so 'FOO=bar' is looked for as a program; write: env FOO=bar cmd"
        ]
    );
    for command in ["_A1=x y", "A= y", "A='b c' d", "A=\"b c\" d", "A=1 B=2 c"] {
        tells(command, &format!("write: env {command}"));
    }
    let both = of("A=1 B=2 c > d");
    assert!(
        both.len() == 2 && both[1].contains("so c gets '>'"),
        "{both:#?}"
    );
    for command in [
        "env A=1 b",
        "./a=b",
        "-a=b",
        "1a=b",
        "'A=1' b",
        "a-b=c",
        "A\\=1 b",
        "=a",
        "dd if=a of=b",
    ] {
        assert_eq!(of(command), Vec::<String>::new(), "{command}");
    }
}

#[test]
fn the_beginning_of_a_crontab_line_is_taken_for_a_program() {
    assert_eq!(
        of("*/5 * * * * cmd"),
        [
            "the times of a crontab mean nothing here: '*/5' is looked for as a program; leave them out and set mindelay, \
          the time from the end of a run to the next"
        ]
    );
    for command in [
        "0 3 * * 1 cmd",
        "0 0 1 1 0 cmd",
        "5,35 8-17/2 * jan,feb mon-fri cmd",
        "* * * * * root cmd",
        "*/5\t*  * * *  cmd",
        "0-59/10 * * * SUN cmd",
    ] {
        tells(command, "the times of a crontab mean nothing here");
    }
    for times in [
        "@hourly",
        "@daily",
        "@midnight",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
        "@reboot",
    ] {
        let expected = format!(
            "mean nothing here: '{times}' is looked for as a program; leave them out and set mindelay"
        );
        tells(&format!("{times} cmd"), &expected);
    }
    let both = of("0 3 * * * cmd > log");
    assert!(
        both.len() == 2 && both[1].contains("so cmd gets '>'"),
        "{both:#?}"
    );
    for command in [
        "run now dev etc bin cmd",
        "7z a b c d e",
        "1 2 3 4 5",
        "0 3 1 x 1 cmd",
        "@home cmd",
        "5 4 3 sunday 1 c",
        ", , , , , c",
        "5 - 3 4 1 c",
        "100 1 1 1 1 x",
    ] {
        assert_eq!(of(command), Vec::<String>::new(), "{command}");
    }
}

#[test]
fn systemds_prefixes_are_taken_for_a_part_of_the_path() {
    assert_eq!(
        of("-/usr/bin/x"),
        [
            "- before a path is for systemd; here '-/usr/bin/x' is looked for as a program; write /usr/bin/x"
        ]
    );
    for command in ["@/usr/bin/x x", "+/x", "!!/x a", "-@/x"] {
        tells(command, "is for systemd");
    }
    for command in ["-x/y", "@x", "'-/x'", "./-/x", "a -/x"] {
        assert_eq!(of(command), Vec::<String>::new(), "{command}");
    }
}

#[test]
fn an_argument_that_is_too_long_for_the_system_is_told() {
    for (length, quote) in [(131_072, ""), (140_000, "'"), (140_000, "\"")] {
        let argument = "x".repeat(length);
        let told = of(&format!("sh -c {quote}{argument}{quote}"));
        assert!(
            told.len() == 1
                && told[0].starts_with(&format!("an argument of {length} bytes is too long")),
            "{told:#?}"
        );
    }
    assert_eq!(
        of(&format!("x {}", "x".repeat(131_071))),
        Vec::<String>::new()
    );
    assert_eq!(of(&"x ".repeat(100_000)), Vec::<String>::new());
}

/// Lines that do what they say.
const RIGHT: [&str; 79] = [
    "find /tmp -name \"*.x\" -exec rm {} \\;",
    "find . ( -name a -o -name b )",
    "curl http://h/?a=1&b=2",
    "sh -c 'a | b > c 2>&1'",
    "awk '{print $1}' f",
    "sh -c \"echo $HOME\"",
    "date +%F",
    "expr 3 '>' 2",
    "nginx -g 'daemon off;'",
    "x --x=a;b",
    "python -c \"print(1 > 0)\"",
    "java -Xloggc:/tmp/gc_%t_%p.log",
    "psql -c \"select * from x\"",
    "true %(ENV_HOME)s",
    "bash -c 'cd /srv && exec x'",
    "x --range=1..5 -- *",
    "cronscripts/buildd-slave-scanner.py -q --log-file=DEBUG:/srv/x.log",
    "$LP_PY_IS_QUOTED",
    "bash -lc \"cd ~/x && $RUN\"",
    "bash -euo pipefail -c \"a | $B\"",
    "bash -o pipefail -c \"$B\"",
    "bash --rcfile /etc/rc -c \"$B\"",
    "sh -c -- \"$B\"",
    "sh +x -c \"$B\"",
    "env A=1 sh -c \"$B\"",
    "nice -n 5 sh -c \"$B; c\"",
    "sudo -n -u x /bin/sh -c \"$B\"",
    "timeout 5 dash -ec \"$B\"",
    "flock -n /l -c \"$B | c\"",
    "flock /l sh -c \"$B\"",
    "su - lp -c \"$B\"",
    "su -lc \"$B\" lp",
    "runuser -u lp --command=\"$B\"",
    "su lp --command \"$B\"",
    "fish --command \"$B\"",
    "docker exec x sh -c \"$B\"",
    "find /srv -name x -exec sh -c \"echo $0\" {} \\;",
    "xargs -a f sh -c \"$B\"",
    "ssh host \"echo $HOME\"",
    "ssh -p 22 -4 a@host ls ~/x /tmp/*.y `hostname`",
    "ssh host 'a | b'",
    "find /x -path */y -prune",
    "nice find /x -path /y*",
    "find . -exec rm {} + -name x",
    "awk -F '|' '{print $NF}' f",
    "echo '$HOME' \\$HOME \"\\$HOME\" '`x`' \\`",
    "echo $1 $$ $? $# $@ $- $ a$ $% \"$\" $'x'",
    "echo '>' '2>&1' \\> \\| \"|\" '&&' \\& '#' \\; \">\"",
    "echo a>b a|b a&b x#y #x a&& ||a",
    "echo '~/x' \\~/x ~ ~x a~/ --dir=~/x",
    "echo *.py * '*/x' \"a/*\" a/\\* --glob=*/x -I/usr/*",
    "sed -e s/a/b/;s/c/d/ f",
    "sed 's/a*/b/' f",
    "grep -c ^[^#;] f",
    "x -> y =>z a<b",
    "tar --exclude=*/x -cf a b",
    "cp a{,.bak} b",
    "test -d x -a ! -e y",
    "[ -d x ]",
    "time x",
    "/usr/bin/cd x",
    "'cd' x",
    "c\"d\" x",
    ".'' x",
    "cd\"\" x",
    "a |'' b",
    "scp host:/var/log/*.log a@b:x/*.y /dst",
    "curl -O http://h/x/*.gz",
    "if",
    "a.sh if then cd exec",
    "ifconfig eth0",
    "./cd x",
    "printf %s\\n a",
    "printf '%d items\\n' 5",
    "mysql -e \"show tables;\"",
    "echo \"it’s – “quoted”\"",
    "echo 'a\u{a0}b' \\\u{a0}",
    "gpg --batch -u 0xABCD! x",
    "rsync -a --filter='- *' host:~/x /y",
];

#[test]
fn a_line_that_does_what_it_says_is_passed_over() {
    for command in RIGHT {
        // The two that stand for something else here.
        if matches!(command, "$LP_PY_IS_QUOTED" | "if") {
            assert_eq!(of(command).len(), 1, "{command}");
            continue;
        }
        assert_eq!(of(command), Vec::<String>::new(), "{command}");
    }
}

#[test]
fn a_semicolon_that_ends_what_find_executes_is_right_where_it_is_read() {
    let job = |line: &str| format!("[buildsequencer_job.a]\ncommand:\n  {line}\n");
    is_silent(&job("find . -exec rm {} ; -print"));
    is_silent(&job("nice find . -execdir rm {} ; -ok x ;"));
    assert_eq!(told(&job("find . ; x")).len(), 1);
    assert_eq!(told(&job("find . -exec rm {} ; ; x")).len(), 1);
    assert_eq!(told(&job("x -exec rm ; y")).len(), 1);
}

#[test]
fn characters_that_look_like_others_are_told_where_nothing_quotes_them() {
    for (command, expected) in [
        (
            "echo a\u{a0}b",
            r"'\u{a0}' is a blank that separates nothing here",
        ),
        ("echo a\u{2009}b", r"'\u{2009}' is a blank"),
        ("ec\u{200b}ho a", r"'\u{200b}' cannot be seen"),
        ("echo \u{feff}a", r"'\u{feff}' cannot be seen"),
        ("echo a\u{202e}b", r"'\u{202e}' cannot be seen"),
        (
            "echo “a b”",
            "'“' looks like a quote and quotes nothing; write \"",
        ),
        (
            "echo ‘a b’",
            "'‘' looks like a quote and quotes nothing; write ' or \"",
        ),
        (
            "ls –l",
            "'–' looks like '-' and is another character; write '-'",
        ),
        ("ls —all", "'—' looks like '-'"),
        ("x −1", "'−' looks like '-'"),
        ("\u{a0}x", r"'\u{a0}' is a blank"),
    ] {
        tells(command, expected);
    }
    tells("a –b ‘c’", "'–'");
    assert_eq!(of("echo é ß 日本 α 🦀"), Vec::<String>::new());
    let other = "[buildsequencer]\nlogfile: /x/a\u{a0}b\nfromaddress: a\u{200b}@x\nsendmail: x –t\n[buildsequencer_job.a]\ncommand: x\n\
                 mailproblemsto: o–o@x\n";
    let lines = told(other);
    let places: Vec<_> = lines
        .iter()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        places,
        [
            "2: logfile",
            "3: fromaddress",
            "4: sendmail",
            "7: mailproblemsto"
        ],
        "{lines:#?}"
    );
}

#[test]
fn a_line_below_a_value_that_reads_like_a_key_is_told_with_its_own_number() {
    let mut lines = told(
        "[buildsequencer_job.a]\ncommand: echo hi\n  mindelay: 5m\n\n# x\n\tTimeout = 5\n   alwayslog=on\n  [buildsequencer_job.b]\n  # y\n",
    );
    // The sign is an argument, too.
    assert!(lines.remove(0).contains("echo gets '#'"), "{lines:#?}");
    let start = "this line is indented and so continues 'command'; ";
    assert_eq!(
        lines[0],
        format!(
            "3: {start}to set mindelay begin it in the first column, or put quotes around what is meant to be part of it"
        )
    );
    assert!(
        lines[1].starts_with(&format!("6: {start}to set timeout")),
        "{lines:#?}"
    );
    assert!(
        lines[2].starts_with(&format!("7: {start}to set alwayslog")),
        "{lines:#?}"
    );
    assert_eq!(
        lines[3],
        format!("8: {start}a section begins in the first column")
    );
    assert_eq!(
        lines[4],
        format!("9: {start}a comment begins in the first column")
    );
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let lines = told(
        "[buildsequencer]\nmailproblemsto: a@x\n  logfile: x\n[buildsequencer_job.a]\ncommand:\n  mindelay: 5\n",
    );
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].starts_with(
            "3: this line is indented and so continues 'mailproblemsto'; to set logfile"
        )
    );
    assert!(lines[1].starts_with("6: this line"));
    for right in [
        "command: sh -c '\n  timeout=5\n  mindelay: x\n  # y\n  '",
        "command: sh -c \"\n  timeout=5\n\"",
        "command: x\n  'timeout=5'\n  \"mindelay: 5\"\n  \\#x",
        "command: x\n  --timeout=5\n  name=y\n  logfile=z",
        "command:\n  x\n  y: z",
    ] {
        let right = right.replace("\n\"", "\n  \"");
        is_silent(&format!("[buildsequencer_job.a]\n{right}\n"));
    }
}

#[test]
fn what_reads_like_many_keys_is_told_of_in_part_and_in_time() {
    let script = "  timeout=5\n".repeat(20_000);
    // Half of it and the other are two arguments; one alone would be too long for the system.
    is_silent(&format!(
        "[buildsequencer_job.a]\ncommand: sh -c '\n{script}  ' '\n{script}  '\n",
        script = "  timeout=5\n".repeat(10_000)
    ));
    let lines = told(&format!("[buildsequencer_job.a]\ncommand: x\n{script}"));
    assert_eq!(lines.len(), MOST_CONTINUED);
}

#[test]
fn a_section_whose_name_nearly_is_ours_is_told() {
    for (header, meant) in [
        ("[buildsequenser]", "[buildsequencer]"),
        ("[BuildSequencer]", "[buildsequencer]"),
        ("[ buildsequencer ]", "[buildsequencer]"),
        ("[buildsequencer\u{a0}]", "[buildsequencer]"),
        ("[build-sequencer]", "[buildsequencer]"),
        ("[buildd-sequencer]", "[buildsequencer]"),
        ("[buildsequencr]", "[buildsequencer]"),
        ("[buildsequencer_jobs.b]", "[buildsequencer_job.b]"),
        ("[buildsequencer_job:b]", "[buildsequencer_job.b]"),
        ("[buildsequencer_job/b]", "[buildsequencer_job.b]"),
        ("[buildsequencer_job b]", "[buildsequencer_job.NAME]"),
        ("[buildsequencer-job.b]", "[buildsequencer_job.b]"),
        ("[buildsequencer.job.b]", "[buildsequencer_job.b]"),
        ("[ buildsequencer_job.b ]", "[buildsequencer_job.b]"),
        ("[Buildsequencer_Job.B]", "[buildsequencer_job.b]"),
        (
            "[buildsequencer_jop.b.optional]",
            "[buildsequencer_job.b.optional]",
        ),
        ("[buildsequencer_job]", "[buildsequencer_job.NAME]"),
        ("[buildsequencer_job_scanner]", "[buildsequencer_job.NAME]"),
        ("[buildsequencer_job:ü]", "[buildsequencer_job.NAME]"),
        ("[buildsequencer.b]", "[buildsequencer_job.NAME]"),
        ("[[buildsequencer_job.b]]", "[buildsequencer_job.b]"),
        ("[[buildsequencer]]", "[buildsequencer]"),
        ("[\"buildsequencer\"]", "[buildsequencer]"),
        ("[Meta]", "[meta]"),
        ("[meta ]", "[meta]"),
    ] {
        let lines = told(&format!("{JOB}{header}\nx: y\n"));
        assert_eq!(lines.len(), 1, "{header} {lines:#?}");
        assert!(lines[0].starts_with("3: the section '["), "{lines:#?}");
        assert!(
            lines[0].ends_with(&format!(
                "is ignored: no section that counts is called so; write {meant}"
            )),
            "{lines:#?}"
        );
    }
    for other in [
        "[canonical]",
        "[builddmaster]",
        "[launchpad]",
        "[meta.x]",
        "[metadata]",
        "[beta]",
        "[sequencer]",
        "[job.a]",
        "[build]",
        "[branchscanner]",
        "[buildmaster_job.a]",
        "[b]",
        "[\u{e9}]",
        "[buildbot]",
        "[supervisor]",
        "[default]",
        "[build_from_branch]",
    ] {
        is_silent(&format!("{JOB}{other}\n"));
    }
}

#[test]
fn a_bracket_that_begins_no_section_is_told_where_its_lines_are_ignored() {
    let lines = told(&format!(
        "{JOB}[x]\n[buildsequencer_job.b\ny: z\n  [buildsequencer_job.c]\n [buildsequenser\n[]\n[y\n  [z]\n  [meta]\n\
         \u{feff}[buildsequencer_job.d]\n\u{a0} \u{feff}[buildsequencer]\n"
    ));
    let expected = |line: usize, meant: &str| {
        format!(
            "{line}: this line begins no section, since something stands before its bracket or the bracket is not closed, and is ignored with \
                 what follows; write [{meant}] in the first column"
        )
    };
    assert_eq!(
        lines,
        [
            expected(4, "buildsequencer_job.b"),
            expected(6, "buildsequencer_job.c"),
            expected(7, "buildsequencer"),
            expected(12, "buildsequencer_job.d"),
            expected(13, "buildsequencer"),
        ]
    );
}

#[test]
fn a_job_or_key_that_stands_twice_in_one_file_is_told_at_the_second_place() {
    let lines = told(
        "[buildsequencer]\nspew: on\nspew: off\n[buildsequencer_job.a]\ncommand: x\nmindelay: 5\nMinDelay: 6\nmindelay = 7\n\
                      [buildsequencer]\nlaunch: on\nspew: on\n[buildsequencer_job.a]\nmindelay: 8\n[buildsequencer_job.template]\ntimeout: 5\n\
                      [buildsequencer_job.master]\ntimeout: 6\nkilldelay: 5\n[buildsequencer_job.b.optional]\n[buildsequencer_job.b.optional]\n",
    );
    let short: Vec<_> = lines
        .iter()
        .map(|line| line.split(';').next().unwrap())
        .collect();
    assert_eq!(
        short,
        [
            "3: spew has been set in line 2 already",
            "7: mindelay has been set in line 6 already",
            "8: mindelay has been set in line 7 already",
            "11: spew has been set in line 3 already",
            "12: job a has a section in line 4 already",
            "17: timeout has been set in line 15 already",
            "20: job b has a section in line 19 already",
        ]
    );
    is_silent(
        "[buildsequencer]\nspew: on\n[buildsequencer]\nlaunch: on\n[buildsequencer_job.a.optional]\ncommand: x\nmindelay: 5\n\
               [buildsequencer_job.a]\nmindelay: 6\n[buildsequencer_job.template]\nmindelay: 5\n[buildsequencer_job.template]\ntimeout: 5\n",
    );
}

#[test]
fn many_entries_of_one_section_are_compared_in_time() {
    let text = format!("{JOB}{}", "mindelay: 5\n".repeat(50_000));
    assert_eq!(told(&text).len(), 49_999);
}

/// Each would take minutes if its parts were looked at again and again.
#[test]
fn long_commands_are_looked_at_in_time() {
    is_silent(&format!(
        "{JOB}[buildsequencer_job.b]\ncommand: true {}\n",
        "sh -o ".repeat(100_000)
    ));
    // This one is too long for the system, which is told, but no line of it for itself.
    let quoted = "  timeout = 5\n".repeat(100_000);
    let lines = told(&format!(
        "{JOB}[buildsequencer_job.b]\ncommand: true '\n{quoted}  '\n"
    ));
    assert_eq!(lines.len(), 1);
}

#[test]
fn files_of_one_chain_may_say_the_same_again() {
    let file = |path: &str| File {
        path: path.into(),
        text: format!("[buildsequencer]\nspew: on\n{JOB}mindelay: 5\n").into(),
    };
    let chain = Chain {
        files: vec![file("base"), file("top")],
        ..Chain::default()
    };
    assert_eq!(parse(chain).unwrap().warnings(usize::MAX), (vec![], 0));
}

#[test]
fn what_stands_behind_a_path_is_part_of_it() {
    for (line, expected) in [
        (
            "logfile: /x.log # main",
            "2: logfile: '#' begins no comment here, so the file is '/x.log # main', all of it; write '/x.log' alone, or a blank and ';' before a comment",
        ),
        (
            "statefile: /x/state; kept",
            "2: statefile: ';' begins no comment here, so the file is '/x/state; kept', all of it; write '/x/state' alone",
        ),
        (
            "metricsfile: /x/a.prom;",
            "2: metricsfile: ';' begins no comment",
        ),
        (
            "controlsocket: /x/s;b ; c",
            "2: controlsocket: ';' begins no comment",
        ),
        ("logfile: /x\t#main", "2: logfile: '#'"),
        (
            "logfile: stdout",
            "2: logfile: this is a file called 'stdout' in the run directory; write '-' for standard output",
        ),
        (
            "logfile: STDERR",
            "2: logfile: this is a file called 'STDERR' in the run directory; write '-' for standard output; there is no log on standard error",
        ),
        (
            "logfile: syslog",
            "2: logfile: this is a file called 'syslog' in the run directory; write '-' for standard output; systemd",
        ),
        (
            "logfile: \"stdout\"",
            "2: logfile: quotes are part of a path, so the file is '\"stdout\"', with them; write 'stdout' alone",
        ),
        ("statefile: '/x'", "2: statefile: quotes are part of a path"),
        (
            "statefile: “/x”",
            "2: statefile: '“' looks like a quote and is part of the value; no quotes are read here, so take it out",
        ),
    ] {
        let lines = told(&format!("[buildsequencer]\n{line}\n{JOB}"));
        assert!(
            lines.len() == 1 && lines[0].starts_with(expected),
            "{line}\n{lines:#?}"
        );
    }
    for line in [
        "logfile: /x#1/a#b.log",
        "logfile: /x;y/log",
        "logfile: /x ; main",
        "logfile: ./stdout",
        "logfile: a'b'",
        "logfile: \"",
        "logfile: -",
        "statefile: stdout",
        "logfile: /var/log/syslog",
        "logfile:\n  #x",
    ] {
        is_silent(&format!("[buildsequencer]\n{line}\n{JOB}"));
    }
}

#[test]
fn a_name_before_an_address_would_be_mailed_too() {
    for value in ["Ops <ops@x>", "a@x, Ops Team <ops@x>", "Ops\n  <ops@x>"] {
        let lines = told(&format!("[buildsequencer]\nmailproblemsto: {value}\n{JOB}"));
        let expected = "2: mailproblemsto: 'Ops' is an address of its own, which is mailed as well";
        assert!(
            lines.len() == 1 && lines[0].starts_with(expected),
            "{value} {lines:#?}"
        );
    }
    for value in [
        "a@x <b@x>",
        "root, <b@x>",
        "- <b@x>",
        "<a@x> root",
        "root a@x",
    ] {
        is_silent(&format!("[buildsequencer]\nmailproblemsto: {value}\n{JOB}"));
    }
}

#[test]
fn only_what_counts_in_the_end_is_told() {
    let texts = [
        "[buildsequencer]\nlogfile: stdout\nsendmail: x | y\nsmtphost: mx\n[buildsequencer_job.a]\ncommand: x > y\n\
         [buildsequencer_job.b.optional]\ncommand: x > y\n[buildsequencer_job.c]\ncommand: x > z\n",
        "[buildsequencer]\nlogfile: -\nsendmail: y\nsmtphost: none\n[buildsequencer_job.a]\ncommand: x\n",
    ];
    let file = |(path, text): (usize, &str)| File {
        path: path.to_string().into(),
        text: text.as_bytes().to_vec(),
    };
    let chain = Chain {
        files: texts.into_iter().enumerate().map(file).collect(),
        ..Chain::default()
    };
    let (told, _) = parse(chain).unwrap().warnings(usize::MAX);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].to_string().starts_with("0:10: job c: no shell"),
        "{told:#?}"
    );
}

#[test]
fn a_command_that_jobs_share_through_the_template_is_told_once() {
    let lines = told(
        "[buildsequencer_job.template]\ncommand: x | y\n[buildsequencer_job.a]\n[buildsequencer_job.b]\n[buildsequencer_job.c]\ncommand: x | y\n",
    );
    let starts: Vec<_> = lines.iter().map(|line| &line[..8]).collect();
    assert_eq!(starts, ["2: a com", "2: job a", "6: job c"], "{lines:#?}");
}

#[test]
fn the_log_gets_twenty_warnings_and_the_number_of_the_others() {
    let jobs = |count: usize| -> String {
        (0..count)
            .map(|n| format!("[buildsequencer_job.a{n}]\ncommand: x > {n}\n"))
            .collect()
    };
    let few = |text: &str| load(text).few_warnings();
    assert_eq!(few(&jobs(20)).len(), 20);
    let told = few(&jobs(25));
    assert_eq!(told.len(), 21);
    assert!(told[19].starts_with("f:40: job a19: no shell"), "{told:#?}");
    assert_eq!(told[20], "and 5 more: see check");
    let told = few(&format!("{}{}", jobs(30), "[Meta]\n".repeat(30)));
    assert_eq!((told.len(), &*told[20]), (21, "and 40 more: see check"));
    assert_eq!(few(JOB), Vec::<String>::new());
}

#[test]
fn a_command_of_any_length_is_looked_at_in_time() {
    for word in [
        "$a ",
        "sh ",
        "su ",
        "ssh ",
        "> ",
        "sh -c x ",
        "find -exec ",
        "“ ",
        "* * * * * ",
        "A=1 ",
        "a; ",
    ] {
        let command = word.repeat(300_000 / word.len());
        let found = Commands::default().look(command.trim_end(), Whose::Job);
        assert!(found.len() <= 3, "{word}");
    }
}

/// Words of which no shell would make anything but themselves, as the first and as any other.
fn plain() -> impl Strategy<Value = String> {
    (
        "[a-z/.][a-z0-9/._+%@:,-]{0,8}",
        prop::collection::vec("[a-zA-Z0-9/._+%@:,=(){}\\[\\]!?^ -]{1,12}", 0..6),
    )
        .prop_map(|(first, rest)| format!("{first} {}", rest.join(" ")))
}

fn any_command() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        " ",
        " ",
        " ",
        "\t",
        "\n",
        "a",
        "b",
        "cd",
        "exec",
        "find",
        "sh",
        "su",
        "ssh",
        "-c",
        "-exec",
        "-o",
        "--",
        "/",
        "*",
        "?",
        "~/",
        "~",
        "$",
        "$A",
        "$1",
        "{",
        "(",
        ")",
        "`",
        ">",
        ">>",
        "2>&1",
        "<",
        "&",
        "&&",
        "&>",
        "|",
        "||",
        ";",
        "#",
        "'",
        "\"",
        "\\",
        "=",
        "A=1",
        "5",
        "@daily",
        "@",
        "+",
        "!",
        "* * * * *",
        "\u{a0}",
        "“",
        "–",
        "é",
        "%",
        ".",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_command_without_a_character_of_a_shell_is_never_warned_of(command in plain()) {
        let first = command.split(' ').next().unwrap_or_default();
        prop_assume!(shell_that_knows(first).is_none());
        let found = Commands::default().look(&command, Whose::Job);
        prop_assert_eq!(found, Vec::<String>::new(), "{}", command);
    }

    #[test]
    fn a_command_of_quoted_words_is_never_warned_of(words in prop::collection::vec(any::<String>(), 1..6)) {
        let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
        let command = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
        let found = Commands::default().look(&command, Whose::Job);
        prop_assert_eq!(found, Vec::<String>::new(), "{}", command);
    }

    #[test]
    fn what_looks_plain_at_first_sight_is_plain(command in any_command()) {
        let found = Commands::default().look(&command, Whose::Job);
        prop_assert!(!is_plain(&command) || found.is_empty(), "{}: {:?}", command, found);
        for message in found {
            prop_assert!(!message.contains(char::is_control), "{}", message);
        }
    }
}
