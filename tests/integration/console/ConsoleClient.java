// pgjdbc at the console: java -cp postgresql.jar ConsoleClient.java HOST PORT DATABASE USER PASSWORD
// Ends with status 0 when every check held.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;

public class ConsoleClient {
    static void check(boolean good, Object what) {
        if (!good)
            throw new AssertionError(what);
    }

    static int rows(ResultSet result) throws SQLException {
        int count = 0;
        while (result.next())
            count++;
        return count;
    }

    static void use(Connection connection) throws SQLException {
        check(connection.getMetaData().getDatabaseMajorVersion() == 15, "version");
        check(connection.isValid(5), "isValid");
        // Past prepareThreshold the driver asks for binary results of a named statement.
        try (PreparedStatement pools = connection.prepareStatement("SHOW POOLS")) {
            for (int turn = 0; turn < 8; turn++) {
                try (ResultSet result = pools.executeQuery()) {
                    ResultSetMetaData columns = result.getMetaData();
                    check(columns.getColumnName(3).equals("cl_active"), columns.getColumnName(3));
                    check(columns.getColumnType(3) == Types.INTEGER, columns.getColumnType(3));
                    check(result.next() && result.getInt("cl_active") >= 1, "cl_active");
                }
            }
        }
        try (PreparedStatement stats = connection.prepareStatement("SHOW STATS")) {
            for (int turn = 0; turn < 8; turn++) {
                try (ResultSet result = stats.executeQuery()) {
                    check(result.next() && result.getBigDecimal("total_xact_count").longValue() >= 1, "stats");
                }
            }
        }
        try (PreparedStatement kill = connection.prepareStatement("KILL_CLIENT ?")) {
            kill.setLong(1, 1000000);
            kill.execute();
            check(false, "killed nobody");
        } catch (SQLException error) {
            check(error.getSQLState().equals("42704"), error);
        }
        try (Statement statement = connection.createStatement()) {
            check(rows(statement.executeQuery("SELECT 1")) == 1, "SELECT 1");
            check(rows(statement.executeQuery("SHOW CONFIG")) > 20, "CONFIG");
        }
    }

    static void transaction(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            // A cursor: rows in portions.
            statement.setFetchSize(5);
            int all = rows(statement.executeQuery("SHOW CONFIG"));
            statement.setFetchSize(0);
            check(all == rows(statement.executeQuery("SHOW CONFIG")), all);
            connection.commit();
            try {
                statement.executeQuery("SHOW NONSENSE");
                check(false, "nonsense");
            } catch (SQLException error) {
                check(error.getSQLState().equals("42601"), error);
            }
            connection.rollback();
            check(rows(statement.executeQuery("SHOW VERSION")) == 1, "VERSION");
        }
        connection.setAutoCommit(true);
    }

    public static void main(String[] words) throws SQLException {
        String url = "jdbc:postgresql://" + words[0] + ":" + words[1] + "/" + words[2];
        for (String mode : new String[] {"extended", "simple", "extendedForPrepared"}) {
            try (Connection connection = DriverManager.getConnection(
                    url + "?preferQueryMode=" + mode, words[3], words[4])) {
                use(connection);
                transaction(connection);
            }
        }
    }
}
