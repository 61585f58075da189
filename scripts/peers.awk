# Turns the rows of peers.sh into Markdown: for each measure the medians, and the peers' ratios to platter.
BEGIN { FS = "\t" }
NR == 1 { for (i = 4; i <= 7; i++) measure[i] = $i; next }
{
	if (!($3 in seenStep)) { seenStep[$3] = 1; step[++steps] = $3 }
	if (!($2 in seenTool) && $2 != "platter") { seenTool[$2] = 1; tool[++tools] = $2 }
	if ($8 != "ok" && $8 != "identical") { broken[$2, $3] = 1; next }
	n = ++count[$2, $3]
	for (i = 4; i <= 7; i++) value[$2, $3, i, n] = $i
}

function median(t, s, i,    n, j, k, v, sorted) {
	n = count[t, s]
	if (n == 0 || (t, s) in broken) return ""
	for (j = 1; j <= n; j++) {
		v = value[t, s, i, j] + 0
		for (k = j - 1; k > 0 && sorted[k] > v; k--) sorted[k + 1] = sorted[k]
		sorted[k + 1] = v
	}
	return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function row(label, t, i, ratio,    j, m, p) {
	printf "| %s |", label
	for (j = 1; j <= steps; j++) {
		m = median(t, step[j], i)
		p = median("platter", step[j], i)
		if (m == "" || ratio && (p == "" || p == 0)) printf " — |"
		else if (ratio) printf " **%.2f** |", m / p
		else printf i <= 5 ? " %.2f |" : " %.0f |", m
	}
	printf "\n"
}

END {
	for (i = 4; i <= 7; i++) {
		printf "\n| %s |", measure[i]
		for (j = 1; j <= steps; j++) printf " %s |", step[j]
		printf "\n|---|"
		for (j = 1; j <= steps; j++) printf "---|"
		printf "\n"
		row("platter", "platter", i, 0)
		for (j2 = 1; j2 <= tools; j2++) row(tool[j2], tool[j2], i, 0)
		for (j2 = 1; j2 <= tools; j2++) row(tool[j2] " ÷ platter", tool[j2], i, 1)
	}
}
