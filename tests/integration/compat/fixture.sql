do $$ declare name text; begin
    for name in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
        execute format('drop schema %I cascade', name);
    end loop;
    perform lo_unlink(oid) from pg_largeobject_metadata;
end $$;
create schema public; grant all on schema public to public;
create table facts (n int primary key, t text);
create table other (id serial primary key, fact int references facts, v numeric default 0, at date default '2020-02-02');
create sequence numbers;
create type mood as enum ('sad', 'ok', 'happy');
create type pair as (a int, b text);
create domain positive as int check (value > 0);
create view named as select n, t from facts where t is not null;
create function plus(a int, b int) returns int language sql immutable as 'select a + b';
create function fails(n int) returns int language plpgsql as 'begin raise exception ''failed with %'', n using errcode = ''P0042''; end';
create function tells(n int) returns int language plpgsql as 'begin raise notice ''told %'', n; return n; end';
create procedure stores(a int, b text) language plpgsql as 'begin insert into facts values (a, b); commit; insert into facts values (a + 1, b); end';
create function sets(name text, value text) returns void language plpgsql as 'begin perform set_config(name, value, false); end';
create function remembers(value text) returns void language plpgsql as 'begin execute format(''set work_mem = %L'', value); end';
create function makes_temp() returns void language plpgsql as 'begin create temp table if not exists hidden (n int); insert into hidden values (1); end';
create function locks(key int) returns void language plpgsql as 'begin perform pg_advisory_lock(key); end';
create function unlocks(key int) returns void language plpgsql as 'begin perform pg_advisory_unlock(key); end';
create function listens(name text) returns void language plpgsql as 'begin execute format(''listen %I'', name); end';
create function holds() returns void language plpgsql as 'begin execute ''declare held cursor with hold for select n from generate_series(1, 5) n''; end';
create function prepares() returns void language plpgsql as 'begin execute ''prepare hidden as select 42''; end';
create function seeds(value float8) returns void language sql as 'select setseed(value)';
create function takes() returns bigint language sql as 'select nextval(''numbers'')';
create function switches(name text) returns void language plpgsql as 'begin execute format(''set role %I'', name); end';
