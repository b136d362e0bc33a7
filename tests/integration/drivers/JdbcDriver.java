// pgjdbc through the target: java -cp postgresql.jar JdbcDriver.java SCENARIO HOST PORT DATABASE USER PASSWORD [NAME=VALUE]...
// Prints "served CLIENT BACKEND" lines and ends with status 0 when every check held.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.jdbc.PgStatement;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

public class JdbcDriver {
    static String url;
    static Properties login = new Properties();

    interface Work {
        void run(Connection connection, int number) throws Exception;
    }

    static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.putAll(login);
        for (String option : options) {
            String[] pair = option.split("=", 2);
            properties.setProperty(pair[0], pair[1]);
        }
        return DriverManager.getConnection(url, properties);
    }

    static void check(boolean held, String what) {
        if (!held) {
            throw new AssertionError(what);
        }
    }

    static String value(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(text)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static final java.util.Map<Object, java.util.Set<String>> backends = new java.util.concurrent.ConcurrentHashMap<>();

    /**
     * Reports the backend of the present transaction. A client that has met one only holds it for a
     * moment, so that somebody else queues for it: then it gets another one next time.
     */
    static void served(Object client, Connection connection) throws SQLException {
        String pid = value(connection, "select pg_backend_pid()");
        java.util.Set<String> met = backends.computeIfAbsent(client, key -> java.util.concurrent.ConcurrentHashMap.newKeySet());
        met.add(pid);
        if (met.size() < 2) {
            try {
                Thread.sleep(15);
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }
        synchronized (System.out) {
            System.out.println("served " + client + " " + pid);
        }
    }

    static void fails(String state, java.util.concurrent.Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (SQLException error) {
            check(state.equals(error.getSQLState()), "expected " + state + ", got " + error.getSQLState() + ": " + error.getMessage());
            return;
        }
        throw new AssertionError("expected " + state + ", nothing was raised");
    }

    /** Runs the work in `count` threads, each with a connection of its own. */
    static void together(int count, Work work, String... options) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        List<Future<?>> running = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            int mine = number;
            running.add(threads.submit(() -> {
                try (Connection connection = connect(options)) {
                    work.run(connection, mine);
                }
                return null;
            }));
        }
        threads.shutdown();
        for (Future<?> future : running) {
            try {
                future.get();
            } catch (ExecutionException error) {
                error.getCause().printStackTrace();
                throw new AssertionError("a thread failed");
            }
        }
    }

    /** The same PreparedStatement objects over many transactions, for each way pgjdbc has to prepare. */
    static void thresholds() throws Exception {
        String[][] ways = {{"prepareThreshold=0"}, {"prepareThreshold=1"}, {"prepareThreshold=5"}, {"prepareThreshold=-1"},
            {"preferQueryMode=simple"}, {"preferQueryMode=extendedForPrepared"},
            {"preferQueryMode=extendedCacheEverything", "prepareThreshold=1"},
            {"prepareThreshold=1", "preparedStatementCacheQueries=2"}};
        for (String[] way : ways) {
            together(6, (connection, number) -> {
                connection.setAutoCommit(false);
                String client = String.join("+", way) + "/" + number;
                try (PreparedStatement sum = connection.prepareStatement("select ?::int + " + number + ", ?::text");
                        PreparedStatement array = connection.prepareStatement("select ?::int[], ?::uuid, ?::timestamptz")) {
                    for (int turn = 0; turn < 24; turn++) {
                        served(client, connection);
                        sum.setInt(1, turn);
                        sum.setString(2, client + turn);
                        try (ResultSet rows = sum.executeQuery()) {
                            check(rows.next(), "no row");
                            check(rows.getInt(1) == turn + number && rows.getString(2).equals(client + turn), "another's row");
                        }
                        java.util.UUID id = java.util.UUID.randomUUID();
                        array.setArray(1, connection.createArrayOf("int4", new Integer[] {turn, number}));
                        array.setObject(2, id);
                        array.setTimestamp(3, new java.sql.Timestamp(0));
                        try (ResultSet rows = array.executeQuery()) {
                            check(rows.next() && rows.getObject(2).equals(id), "another's uuid");
                            check(Arrays.equals((Integer[]) rows.getArray(1).getArray(), new Integer[] {turn, number}), "another's array");
                            check(rows.getTimestamp(3).getTime() == 0, "another's time");
                        }
                        for (int n = 0; n < 4; n++) {
                            check(value(connection, "select " + n * 100).equals(String.valueOf(n * 100)), "another's value");
                        }
                        connection.commit();
                    }
                }
            }, way);
        }
    }

    /** C3-45: a portal that is read in pieces, in transactions that rotate. */
    static void fetch() throws Exception {
        together(6, (connection, number) -> {
            connection.setAutoCommit(false);
            try (PreparedStatement statement = connection.prepareStatement("select n, n * ? from generate_series(1, 1000) n")) {
                statement.setFetchSize(90);
                for (int turn = 0; turn < 8; turn++) {
                    served(number, connection);
                    statement.setInt(1, number);
                    long sum = 0;
                    try (ResultSet rows = statement.executeQuery()) {
                        while (rows.next()) {
                            sum += rows.getInt(2);
                            if (turn % 4 == 3 && rows.getInt(1) == 300) {
                                break; // left half read
                            }
                        }
                    }
                    check(sum == (turn % 4 == 3 ? 45150L : 500500L) * number, "wrong sum");
                    if (turn % 3 == 2) {
                        connection.rollback();
                    } else {
                        connection.commit();
                    }
                }
            }
        }, "prepareThreshold=0");
    }

    static void batches() throws Exception {
        try (Connection connection = connect()) {
            connection.createStatement().execute("drop table if exists batched; create table batched (client text, n int, t text, primary key (client, n))");
        }
        for (String rewrite : new String[] {"false", "true"}) {
            together(5, (connection, number) -> {
                connection.setAutoCommit(false);
                String client = rewrite + number;
                try (PreparedStatement insert = connection.prepareStatement("insert into batched values (?, ?, ?)")) {
                    for (int turn = 0; turn < 20; turn++) {
                        served(client, connection);
                        for (int n = 0; n < 100; n++) {
                            insert.setString(1, client);
                            insert.setInt(2, turn * 1000 + n);
                            insert.setString(3, "text ".repeat(n % 20));
                            insert.addBatch();
                        }
                        check(insert.executeBatch().length == 100, "wrong count");
                        connection.commit();
                        insert.setString(1, client);
                        insert.setInt(2, turn * 1000 + 500);
                        insert.setString(3, "lost");
                        insert.addBatch();
                        insert.setString(1, client);
                        insert.setInt(2, turn * 1000);
                        insert.setString(3, "duplicate");
                        insert.addBatch();
                        try {
                            insert.executeBatch();
                            throw new AssertionError("the duplicate was accepted");
                        } catch (BatchUpdateException error) {
                            check(error.getSQLState().equals("23505"), error.getMessage());
                            connection.rollback();
                        }
                    }
                }
                check(value(connection, "select count(*) from batched where client = '" + client + "'").equals("2000"), "rows lost");
                connection.commit();
            }, "reWriteBatchedInserts=" + rewrite);
        }
    }

    /** C3-46: FunctionCall messages. */
    static void largeObjects() throws Exception {
        together(4, (connection, number) -> {
            connection.setAutoCommit(false);
            LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
            byte[] body = new byte[200000];
            Arrays.fill(body, (byte) number);
            long oid = manager.createLO();
            for (int turn = 0; turn < 25; turn++) {
                served(number, connection);
                try (LargeObject object = manager.open(oid, LargeObjectManager.READWRITE)) {
                    object.seek(turn * 1000);
                    object.write(body);
                    check(object.tell() == turn * 1000 + body.length, "wrong position");
                }
                connection.commit();
                try (LargeObject object = manager.open(oid, LargeObjectManager.READ)) {
                    byte[] read = object.read(1000000);
                    check(read.length == turn * 1000 + body.length && read[read.length - 1] == (byte) number, "another's object");
                }
                connection.commit();
            }
            fails("42704", () -> manager.open(1, LargeObjectManager.READ).size());
            connection.rollback();
            manager.delete(oid);
            connection.commit();
        });
    }

    /** C3-84: a time-out cancels; the answer to the next query is its own. */
    static void cancels() throws Exception {
        together(4, (connection, number) -> {
            for (int turn = 0; turn < 8; turn++) {
                try (Statement statement = connection.createStatement()) {
                    statement.unwrap(PgStatement.class).setQueryTimeoutMs(40 + 10 * number);
                    fails("57014", () -> statement.executeQuery("select pg_sleep(20)"));
                }
                try (Statement statement = connection.createStatement()) {
                    java.util.concurrent.atomic.AtomicBoolean done = new java.util.concurrent.atomic.AtomicBoolean();
                    Thread canceller = new Thread(() -> {
                        try {
                            // Again and again: the first may come before the statement runs.
                            do {
                                Thread.sleep(50);
                                statement.cancel();
                            } while (!done.get());
                        } catch (Exception error) {
                            error.printStackTrace();
                        }
                    });
                    canceller.start();
                    fails("57014", () -> statement.executeQuery("select pg_sleep(20), " + number));
                    done.set(true);
                    canceller.join();
                }
                for (int n = 0; n < 10; n++) {
                    check(value(connection, "select " + (n * 7 + number)).equals(String.valueOf(n * 7 + number)), "another's reply");
                }
            }
        });
    }

    /** C3-50, C3-53: what a session sets is its own. */
    static void sessions() throws Exception {
        try (Connection connection = connect()) {
            for (int number = 0; number < 4; number++) {
                connection.createStatement().execute("drop schema if exists s" + number + " cascade; create schema s" + number + " create table t (n int)");
                connection.createStatement().execute("insert into s" + number + ".t values (" + number + ")");
            }
        }
        together(4, (connection, number) -> {
            connection.setSchema("s" + number);
            connection.setReadOnly(number % 2 == 1);
            connection.setTransactionIsolation(number < 2 ? Connection.TRANSACTION_SERIALIZABLE : Connection.TRANSACTION_REPEATABLE_READ);
            for (int turn = 0; turn < 10; turn++) {
                check(value(connection, "select n from t").equals(String.valueOf(number)), "another's search_path");
                check(value(connection, "show application_name").equals("jdbc"), "another's application_name");
                check(connection.getTransactionIsolation() == (number < 2 ? 8 : 4), "another's isolation");
                if (number % 2 == 1) {
                    connection.setAutoCommit(false);
                    fails("25006", () -> connection.createStatement().execute("insert into t values (1)"));
                    connection.rollback();
                    connection.setAutoCommit(true);
                } else {
                    connection.createStatement().execute("update t set n = n");
                }
            }
        }, "ApplicationName=jdbc");
        together(3, (connection, number) -> {
            // autosave: a savepoint around every statement.
            connection.setAutoCommit(false);
            for (int turn = 0; turn < 40; turn++) {
                served("autosave" + number, connection);
                fails("22012", () -> value(connection, "select 1/0"));
                check(value(connection, "select 'still here'").equals("still here"), "the transaction was lost");
                Savepoint savepoint = connection.setSavepoint();
                connection.createStatement().execute("create table gone" + number + " (n int)");
                connection.rollback(savepoint);
                connection.commit();
            }
        }, "autosave=always");
    }

    static void copies() throws Exception {
        try (Connection connection = connect()) {
            connection.createStatement().execute("drop table if exists copied; create table copied (client int, n int)");
        }
        together(4, (connection, number) -> {
            var copy = connection.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder text = new StringBuilder();
            for (int n = 0; n < 2000; n++) {
                text.append(number).append(',').append(n).append('\n');
            }
            for (int turn = 0; turn < 12; turn++) {
                connection.setAutoCommit(false);
                served(number, connection);
                check(copy.copyIn("copy copied from stdin csv", new StringReader(text.toString())) == 2000, "wrong count");
                connection.commit();
                connection.setAutoCommit(true);
                fails("22P02", () -> copy.copyIn("copy copied from stdin csv", new StringReader("1,x\n")));
                StringWriter out = new StringWriter();
                check(copy.copyOut("copy (select * from copied where client = " + number + ") to stdout", out) == 2000 * (turn + 1), "wrong count");
            }
        });
    }

    /** Each client is told what everybody notifies, in one order, and knows its own by the process id. */
    static void notifications() throws Exception {
        int count = 8;
        java.util.concurrent.CyclicBarrier barrier = new java.util.concurrent.CyclicBarrier(count);
        String[] orders = new String[count];
        together(count, (connection, number) -> {
            org.postgresql.PGConnection plain = connection.unwrap(org.postgresql.PGConnection.class);
            connection.createStatement().execute("listen news");
            barrier.await();
            connection.setAutoCommit(false);
            for (int turn = 0; turn < 5; turn++) {
                served(number, connection);
                value(connection, "select pg_notify('news', '" + number + " " + turn + "')");
                connection.commit();
            }
            connection.setAutoCommit(true);
            StringBuilder order = new StringBuilder();
            int heard = 0;
            while (heard < 5 * count) {
                org.postgresql.PGNotification[] notes = plain.getNotifications(20000);
                check(notes != null && notes.length > 0, "only " + heard + " came");
                for (org.postgresql.PGNotification note : notes) {
                    boolean own = note.getParameter().startsWith(number + " ");
                    check(own == (note.getPID() == plain.getBackendPID()), note.getParameter() + " from " + note.getPID());
                    order.append(note.getParameter()).append(";");
                    heard++;
                }
            }
            orders[number] = order.toString();
            connection.createStatement().execute("unlisten *");
            barrier.await();
            check(orders[number].equals(orders[0]), orders[number] + " is not " + orders[0]);
        });
    }

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://" + arguments[1] + ":" + arguments[2] + "/" + arguments[3];
        login.setProperty("user", arguments[4]);
        login.setProperty("password", arguments[5]);
        for (int i = 6; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            login.setProperty(pair[0], pair[1]);
        }
        switch (arguments[0]) {
            case "thresholds": thresholds(); break;
            case "notifications": notifications(); break;
            case "fetch": fetch(); break;
            case "batches": batches(); break;
            case "largeObjects": largeObjects(); break;
            case "cancels": cancels(); break;
            case "sessions": sessions(); break;
            case "copies": copies(); break;
            default: throw new IllegalArgumentException(arguments[0]);
        }
    }
}
