# Makes a table of what `go test -v -run '^TestFault'` says: each fault with the
# number of its rounds, what became of it, and what was counted or measured.
# Of a test that failed or was skipped it shows all lines.

function line(fault, rounds, result, note) {
	printf "%-28s %7s  %-7s %s\n", fault, rounds, result, note
}

BEGIN { line("fault", "rounds", "result", "") }

/^=== ATTR / {
	name = $3; key = $4
	sub(/^=== ATTR +[^ ]+ [^ ]+ /, "")
	if (key == "result" && (name, key) in attr) $0 = attr[name, key] "; " $0
	attr[name, key] = $0
	next
}
/^=== RUN|^=== CONT|^=== PAUSE|^=== NAME/ { next }
/^--- (PASS|FAIL|SKIP): / {
	name = $3; took = $4
	gsub(/[()]/, "", took)
	result = $2 == "PASS:" ? "held" : $2 == "FAIL:" ? "FAILED" : "skipped"
	sub(/^TestFault/, "", name)
	note = attr[$3, "result"]
	line(name, attr[$3, "rounds"] ? attr[$3, "rounds"] : 1, result, took (note ? "  " note : ""))
	delete attr[$3, "rounds"] # another package may have a test of that name
	delete attr[$3, "result"]
	count[result]++
	next
}
/^ok |^\?|^PASS|no test files|no tests to run|^ +--- (PASS)|more lenient than/ { next }
{ print }
END {
	printf "%d held, %d failed, %d skipped\n", count["held"], count["FAILED"], count["skipped"]
}
