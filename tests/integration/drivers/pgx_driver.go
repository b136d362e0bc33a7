// pgx v4 through the target: pgx_driver SCENARIO, where to connect is in the environment as for libpq.
// Prints "served CLIENT BACKEND" lines and ends with status 0 when every check held.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var background = context.Background()
var output sync.Mutex

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func hold(held bool, format string, values ...interface{}) {
	if !held {
		panic(fmt.Sprintf(format, values...))
	}
}

func fails(state string, err error) {
	var server *pgconn.PgError
	hold(errors.As(err, &server) && server.Code == state, "expected %s, got %v", state, err)
}

type querier interface {
	QueryRow(context.Context, string, ...interface{}) pgx.Row
}

func served(client interface{}, from querier) {
	var pid int
	check(from.QueryRow(background, "select pg_backend_pid()").Scan(&pid))
	output.Lock()
	fmt.Println("served", strings.ReplaceAll(fmt.Sprint(client), " ", "_"), pid)
	output.Unlock()
}

// together runs work in `count` goroutines, each with a connection of its own.
func together(count int, change func(*pgx.ConnConfig), work func(*pgx.Conn, int)) {
	var group sync.WaitGroup
	for number := 0; number < count; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			config, err := pgx.ParseConfig("")
			check(err)
			if change != nil {
				change(config)
			}
			conn, err := pgx.ConnectConfig(background, config)
			check(err)
			defer conn.Close(background)
			work(conn, number)
		}(number)
	}
	group.Wait()
}

func transactions(way string) func(*pgx.Conn, int) {
	return func(conn *pgx.Conn, number int) {
		client := fmt.Sprintf("%s%d", way, number)
		for turn := 0; turn < 40; turn++ {
			check(conn.BeginFunc(background, func(tx pgx.Tx) error {
				served(client, tx)
				var sum int
				var tag string
				check(tx.QueryRow(background, fmt.Sprintf("select $1::int + %d, $2::text", number), turn, client).Scan(&sum, &tag))
				hold(sum == turn+number && tag == client, "another's row: %d %s", sum, tag)
				_, err := tx.Exec(background, "savepoint a")
				check(err)
				_, err = tx.Exec(background, "select 1 / $1::int", 0)
				fails("22012", err)
				_, err = tx.Exec(background, "rollback to a")
				check(err)
				return nil
			}))
			var twice int
			check(conn.QueryRow(background, "select $1::int * 2", turn).Scan(&twice))
			hold(twice == 2*turn, "another's answer")
			var list []string
			check(conn.QueryRow(background, "select array[$1::text, $2::text]", client, way).Scan(&list))
			hold(list[0] == client && list[1] == way, "another's array")
		}
	}
}

func modes() {
	together(6, nil, transactions("prepare"))
	together(6, func(config *pgx.ConnConfig) { config.PreferSimpleProtocol = true }, transactions("simple"))
}

// described: pgx describes once and then always binds the unnamed statement.
func describeMode() {
	var group sync.WaitGroup
	for number := 0; number < 6; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			conn, err := pgx.Connect(background, "statement_cache_mode=describe statement_cache_capacity=3")
			check(err)
			defer conn.Close(background)
			transactions("describe")(conn, number)
			for n := 0; n < 30; n++ { // more statements than the cache holds
				var got int
				check(conn.QueryRow(background, fmt.Sprintf("select %d + $1::int", n), 1).Scan(&got))
				hold(got == n+1, "another's answer")
			}
		}(number)
	}
	group.Wait()
}

func prepared() {
	together(6, nil, func(conn *pgx.Conn, number int) {
		_, err := conn.Prepare(background, "same name", fmt.Sprintf("select %d + $1::int", number))
		check(err)
		for turn := 0; turn < 40; turn++ {
			served(number, conn)
			var got int
			check(conn.QueryRow(background, "same name", turn).Scan(&got))
			hold(got == number+turn, "another's statement: %d", got)
			if turn == 7 {
				check(conn.Deallocate(background, "same name"))
				_, err := conn.Prepare(background, "same name", fmt.Sprintf("select %d + $1::int", number))
				check(err)
			}
		}
	})
	conn, err := pgx.Connect(background, "statement_cache_capacity=4")
	check(err)
	for round := 0; round < 5; round++ {
		for n := 0; n < 12; n++ { // evicts by DEALLOCATE
			var got int
			check(conn.QueryRow(background, fmt.Sprintf("select %d - $1::int", n), 1).Scan(&got))
			hold(got == n-1, "another's answer")
		}
	}
	check(conn.Close(background))
}

func batches() {
	conn, err := pgx.Connect(background, "")
	check(err)
	_, err = conn.Exec(background, "drop table if exists batched")
	check(err)
	_, err = conn.Exec(background, "create table batched (client int, n int, primary key (client, n))")
	check(err)
	check(conn.Close(background))
	together(6, nil, func(conn *pgx.Conn, number int) {
		for turn := 0; turn < 20; turn++ {
			served(number, conn)
			batch := &pgx.Batch{}
			for n := 0; n < 20; n++ {
				batch.Queue("insert into batched values ($1, $2)", number, turn*100+n)
				batch.Queue("select $1::int + count(*)::int from batched where client = $2", 0, number)
			}
			results := conn.SendBatch(background, batch)
			for n := 0; n < 20; n++ {
				_, err := results.Exec()
				check(err)
				var count int
				check(results.QueryRow().Scan(&count))
				hold(count == turn*20+n+1, "batch: %d rows", count)
			}
			check(results.Close())
			batch = &pgx.Batch{}
			batch.Queue("insert into batched values ($1, $2)", number, turn*100+50)
			batch.Queue("insert into batched values ($1, $2)", number, turn*100)
			batch.Queue("select 1")
			fails("23505", conn.SendBatch(background, batch).Close())
			var rows [][]interface{}
			for n := 0; n < 1000; n++ {
				rows = append(rows, []interface{}{number + 1000, turn*1000 + n})
			}
			count, err := conn.CopyFrom(background, pgx.Identifier{"batched"}, []string{"client", "n"}, pgx.CopyFromRows(rows))
			check(err)
			hold(count == 1000, "copied %d", count)
			_, err = conn.CopyFrom(background, pgx.Identifier{"batched"}, []string{"client", "n"}, pgx.CopyFromRows(rows[:1]))
			fails("23505", err)
		}
	})
}

func pool() {
	config, err := pgxpool.ParseConfig("pool_max_conns=20")
	check(err)
	clients, err := pgxpool.ConnectConfig(background, config)
	check(err)
	var group sync.WaitGroup
	for number := 0; number < 60; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			for turn := 0; turn < 10; turn++ {
				conn, err := clients.Acquire(background)
				check(err)
				check(conn.BeginFunc(background, func(tx pgx.Tx) error {
					served(conn.Conn().PgConn().PID(), tx)
					var tag string
					check(tx.QueryRow(background, "select $1::text", fmt.Sprint(number, "-", turn)).Scan(&tag))
					hold(tag == fmt.Sprint(number, "-", turn), "another's tag %s", tag)
					return nil
				}))
				conn.Release()
			}
		}(number)
	}
	group.Wait()
	clients.Close()
}

// cancels: a context that ends closes the connection in pgx; the statement must not run on.
func cancels() {
	together(4, nil, func(bystander *pgx.Conn, number int) {
		for turn := 0; turn < 6; turn++ {
			conn, err := pgx.Connect(background, "")
			check(err)
			short, stop := context.WithTimeout(background, time.Duration(20+10*number)*time.Millisecond)
			_, err = conn.Exec(short, "select pg_sleep(20)")
			stop()
			hold(err != nil && conn.IsClosed(), "the connection outlived its context")
			for n := 0; n < 5; n++ {
				var got int
				check(bystander.QueryRow(background, "select $1::int", n).Scan(&got))
				hold(got == n, "another's answer")
			}
		}
	})
}

// Each client is told what everybody notifies, in one order, and knows its own by the process id.
func notifications() {
	const count = 8
	var listening, done sync.WaitGroup
	listening.Add(count)
	done.Add(count)
	orders := make([]string, count)
	together(count, nil, func(conn *pgx.Conn, number int) {
		_, err := conn.Exec(background, "listen news")
		check(err)
		listening.Done()
		listening.Wait()
		for turn := 0; turn < 5; turn++ {
			tx, err := conn.Begin(background)
			check(err)
			served(number, tx)
			_, err = tx.Exec(background, "select pg_notify('news', $1)", fmt.Sprint(number, " ", turn))
			check(err)
			check(tx.Commit(background))
		}
		for heard := 0; heard < 5*count; heard++ {
			ctx, cancel := context.WithTimeout(background, 30*time.Second)
			note, err := conn.WaitForNotification(ctx)
			cancel()
			check(err)
			own := strings.HasPrefix(note.Payload, fmt.Sprint(number, " "))
			hold(own == (note.PID == conn.PgConn().PID()), "%s from %d at %d", note.Payload, note.PID, conn.PgConn().PID())
			orders[number] += note.Payload + ";"
		}
		_, err = conn.Exec(background, "unlisten news")
		check(err)
		done.Done()
		done.Wait()
		hold(orders[number] == orders[0], "%s is not %s", orders[number], orders[0])
	})
}

func main() {
	map[string]func(){"notifications": notifications, "modes": modes, "describe": describeMode, "prepared": prepared, "batches": batches, "pool": pool,
		"cancels": cancels}[os.Args[1]]()
}
