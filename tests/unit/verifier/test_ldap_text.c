#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "room.h"

/* Frees `found`. */
static void same(char *found, const char *expected, const char *what)
{
    if (found == NULL || expected == NULL)
        cr_expect_eq(found, expected, "%s: %s", what, found != NULL ? found : "nothing");
    else
        cr_expect_str_eq(found, expected, "%s: %s", what, found);
    free(found);
}

Test(ldap_text, in_filter)
{
    static const char *const table[][2] = {
        {"alice", "alice"},
        {"", ""},
        {"a*b", "a\\2ab"},
        {"*)(uid=*))(|(uid=*", "\\2a\\29\\28uid=\\2a\\29\\29\\28|\\28uid=\\2a"},
        {"a\\2ab", "a\\5c2ab"},
        {"O'Neil, \"x\" /y", "O'Neil, \"x\" /y"},
        {"J\xc3\xb6rg", "J\xc3\xb6rg"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        same(ldap_text_in_filter(table[i][0]), table[i][1], table[i][0]);
}

Test(ldap_text, in_name)
{
    static const char *const table[][2] = {
        {"alice", "alice"},
        {"", ""},
        {"Smith, John", "Smith\\2c John"},
        {"a+b;c<d>e=f\"g\\h", "a\\2bb\\3bc\\3cd\\3ee\\3df\\22g\\5ch"},
        {" a b ", "\\20a b\\20"},
        {" ", "\\20"},
        {"  ", "\\20\\20"},
        {"#a#", "\\23a#"},
        {"alice,ou=admins", "alice\\2cou\\3dadmins"},
        {"J\xc3\xb6rg*()", "J\xc3\xb6rg*()"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        same(ldap_text_in_name(table[i][0]), table[i][1], table[i][0]);
}

Test(ldap_text, filter)
{
    same(ldap_text_filter(NULL, NULL, "a"), "(uid=a)", "default");
    same(ldap_text_filter("mail", NULL, "a"), "(mail=a)", "attribute");
    same(ldap_text_filter(NULL, "(|(uid=$username)(mail=$username@x))", "a"),
         "(|(uid=a)(mail=a@x))", "twice");
    same(ldap_text_filter(NULL, "(uid=x)", "a"), "(uid=x)", "without a name");
    same(ldap_text_filter(NULL, "$username", "$username"), "$username", "not again");
    same(ldap_text_filter(NULL, "(uid=$username)", "*)(cn=*"), "(uid=\\2a\\29\\28cn=\\2a)",
         "escaped");
    same(ldap_text_filter("mail", NULL, "*"), "(mail=\\2a)", "escaped");
}

Test(ldap_text, bind_name)
{
    same(ldap_text_bind_name("uid=", "alice", ",dc=x"), "uid=alice,dc=x", "name");
    same(ldap_text_bind_name("uid=", "alice,ou=admins", ",dc=x"), "uid=alice\\2cou\\3dadmins,dc=x",
         "stays one value");
    same(ldap_text_bind_name("cn=", " x", ""), "cn=\\20x", "prefix alone");
    same(ldap_text_bind_name("", "x,y", ",dc=x"), "x\\2cy,dc=x", "suffix alone");
    same(ldap_text_bind_name("", "alice", "@example.net"), "alice@example.net", "of a domain");
    same(ldap_text_bind_name("EXAMPLE\\", "alice", ""), "EXAMPLE\\alice", "of a domain");
    same(ldap_text_bind_name("", "alice@example.net", ""), "alice@example.net", "as it is");
    same(ldap_text_bind_name("", "alice@other.net", "@example.net"), NULL, "of another domain");
    same(ldap_text_bind_name("", "cn=admin,dc=x", ""), NULL, "no name is one");
    same(ldap_text_bind_name("", "OTHER\\alice", ""), NULL, "of another domain");
    same(ldap_text_bind_name("EXAMPLE\\", "x/y", ""), NULL, "no path is one");
}

Test(ldap_text, addresses)
{
    same(ldap_text_addresses("ldap", "a", 389), "ldap://a:389", "one");
    same(ldap_text_addresses("ldaps", " a  b.c ", 636), "ldaps://a:636 ldaps://b.c:636", "two");
    same(ldap_text_addresses("ldap", "a:1 b:2", 0), "ldap://a:1 ldap://b:2", "own ports");
    same(ldap_text_addresses("ldap", "[::1]", 389), "ldap://[::1]:389", "an address");
    same(ldap_text_addresses("ldap", " ", 389), "", "none");
    cr_expect_eq(ldap_text_count(""), 0);
    cr_expect_eq(ldap_text_count("ldap://a:389"), 1);
    cr_expect_eq(ldap_text_count("ldap://a:389 ldap://b:389"), 2);
}
