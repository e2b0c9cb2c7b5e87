/*
 * Predictions of a quantized network for CSV rows on stdin, one a line on stdout.
 * The first line names the columns: those of the network in any order, others are passed over.
 * With --scores, the network's output or outputs stand before each prediction. Categories that
 * were not seen in training are counted on stderr; with --strict, the first one ends the program.
 *
 *     cc -std=c99 -O2 -o predict THIS_FILE -lm && ./predict < rows.csv
 */
#include <stdio.h>

#include "@HEADER@"

#define MOST_CELLS 8192
#define MOST_BYTES (1 << 20)

static char line[MOST_BYTES];
static char *cells[MOST_CELLS];

/*
 * Read a row into `cells`, quotes as in RFC 4180: a quoted cell may hold commas and line breaks.
 * The number of cells; 0 at the end of the file, -1 where the row is too long or the file ends
 * within quotes. Empty lines and a byte-order mark are passed over.
 */
static int next_row(void)
{
    static int first = 1;
    size_t end = 0;
    int count = 1, quoted = 0, empty = 1, byte = getchar();

    cells[0] = line;
    for (;; byte = getchar()) {
        if (end + 1 >= sizeof line || (quoted && byte == EOF))
            return -1;
        if (quoted && byte == '"') {
            byte = getchar();
            quoted = byte == '"';
        }
        if (quoted) {
            line[end++] = (char)byte;
            continue;
        }
        if (byte == '\r') {
            byte = getchar();
            if (byte != '\n') {
                ungetc(byte, stdin);
                byte = '\n';
            }
        }
        if (byte == EOF || byte == '\n') {
            if (empty && byte == '\n')
                continue;
            line[end] = '\0';
            return empty ? 0 : count;
        }
        empty = 0;
        if (byte == ',') {
            line[end++] = '\0';
            if (count == MOST_CELLS)
                return -1;
            cells[count++] = line + end;
        } else if (byte == '"' && line + end == cells[count - 1]) {
            quoted = 1;
        } else {
            line[end++] = (char)byte;
            if (first && end == 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0)
                end = 0;
            first = first && end > 0 && end < 3;
        }
    }
}

/* What an error adds for text that spells a truth value. */
static const char *hint(const char *text)
{
    static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    int k;

    for (k = 0; k < 6; k++)
        if (strcmp(text, words[k]) == 0)
            return " (a number is expected: write 1 for true, 0 for false)";
    return "";
}

int main(int argc, char **argv)
{
    int scores = 0, strict = 0, unseen = 0;
    int place[QNN_COLUMNS], c, k, count, found_cells, row = 0;
    double values[QNN_COLUMNS];

    for (k = 1; k < argc; k++) {
        int known = scores + strict;
        scores |= strcmp(argv[k], "--scores") == 0;
        strict |= strcmp(argv[k], "--strict") == 0;
        if (scores + strict == known) {
            fprintf(stderr, "usage: %s [--scores] [--strict] < rows.csv\n", argv[0]);
            return 2;
        }
    }
    if ((count = next_row()) <= 0) {
        fprintf(stderr, "error: no line of column names\n");
        return 2;
    }
    for (c = 1; c < count; c++)
        for (k = 0; k < c; k++)
            if (strcmp(cells[k], cells[c]) == 0) {
                fprintf(stderr, "error: two columns are called %s\n", cells[c]);
                return 2;
            }
    for (c = 0; c < QNN_COLUMNS; c++) {
        place[c] = -1;
        for (k = 0; k < count; k++)
            if (strcmp(cells[k], qnn_column_names[c]) == 0)
                place[c] = k;
        if (place[c] < 0) {
            fprintf(stderr, "error: no column is called %s\n", qnn_column_names[c]);
            return 2;
        }
    }
    while ((found_cells = next_row()) != 0) {
#ifdef QNN_OUTPUTS
        double score[QNN_OUTPUTS];
#else
        double score;
#endif
        row++;
        if (found_cells != count) {
            fprintf(stderr, "error: row %d has not %d cells%s\n", row, count,
                    found_cells < 0 ? ", is too long, or leaves a quote open" : "");
            return 2;
        }
        for (c = 0; c < QNN_COLUMNS; c++) {
            int found = qnn_parse(c, cells[place[c]], &values[c]);
            unseen += found == 2;
            if (found == 0 || (strict && found == 2)) {
                fprintf(stderr, "error: row %d, column %s: %s '%s'%s\n", row, qnn_column_names[c],
                        found == 0 ? "cannot read" : "not seen in training:",
                        cells[place[c]], found == 0 ? hint(cells[place[c]]) : "");
                return 2;
            }
        }
#ifdef QNN_OUTPUTS
        qnn_scores(values, score);
        for (k = 0; scores && k < QNN_OUTPUTS; k++)
            printf("%.17g ", score[k]);
#else
        score = qnn_score(values);
        if (scores)
            printf("%.17g ", score);
#endif
#if QNN_CLASSES
        puts(qnn_label(score));
#elif defined QNN_OUTPUTS
        for (k = 0; k < QNN_OUTPUTS; k++)
            printf("%.17g%c", qnn_number(score[k], k), k + 1 < QNN_OUTPUTS ? ' ' : '\n');
#else
        printf("%.17g\n", qnn_number(score));
#endif
    }
    if (unseen > 0)
        fprintf(stderr, "warning: %d cells hold categories that were not seen in training\n",
                unseen);
    return 0;
}
