// pgx and lib/pq at the console: console_client DATABASE. Ends with status 0 when every check held.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"github.com/jackc/pgx/v4"
	_ "github.com/lib/pq"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func expect(good bool, what interface{}) {
	if !good {
		check(fmt.Errorf("unexpected: %v", what))
	}
}

// The default mode: statements prepared by name, binary results.
func withPgx(database string, simple bool) {
	ctx := context.Background()
	config, err := pgx.ParseConfig("dbname=" + database)
	check(err)
	config.PreferSimpleProtocol = simple
	conn, err := pgx.ConnectConfig(ctx, config)
	check(err)
	defer conn.Close(ctx)
	check(conn.Ping(ctx))
	for turn := 0; turn < 3; turn++ {
		rows, err := conn.Query(ctx, "SHOW LISTS")
		check(err)
		count := 0
		for rows.Next() {
			var name string
			var items int32
			check(rows.Scan(&name, &items))
			count++
		}
		check(rows.Err())
		expect(count >= 14, count)
		rows, err = conn.Query(ctx, "SHOW STATS")
		check(err)
		for rows.Next() {
			values, err := rows.Values()
			check(err)
			expect(len(values) == 25, len(values))
		}
		check(rows.Err())
	}
	_, err = conn.Exec(ctx, "SHOW NONSENSE")
	expect(err != nil, "nonsense was accepted")
	check(conn.Ping(ctx))
}

// What prometheus-community/pgbouncer_exporter does: every column read as text or as a number.
func asExporter(database string) {
	db, err := sql.Open("postgres", "sslmode=disable dbname="+database)
	check(err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	check(db.Ping())
	for turn := 0; turn < 2; turn++ {
		for _, query := range []string{"SHOW VERSION;", "SHOW STATS;", "SHOW POOLS;", "SHOW LISTS;",
			"SHOW CONFIG;", "SHOW DATABASES;", "SHOW STATS_TOTALS;", "SHOW CLIENTS;"} {
			rows, err := db.Query(query)
			check(err)
			columns, err := rows.Columns()
			check(err)
			count := 0
			for rows.Next() {
				values := make([]interface{}, len(columns))
				places := make([]interface{}, len(columns))
				for i := range values {
					places[i] = &values[i]
				}
				check(rows.Scan(places...))
				count++
			}
			check(rows.Err())
			expect(count > 0, query)
		}
	}
}

func main() {
	withPgx(os.Args[1], false)
	withPgx(os.Args[1], true)
	asExporter(os.Args[1])
}
