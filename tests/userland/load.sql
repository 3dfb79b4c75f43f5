-- SPDX-License-Identifier: Apache-2.0
-- Tables, indices, joins, windows, text search, with an output that is always
-- the same; :rows says how many.
pragma journal_mode = wal;
create table item (id integer primary key, kind integer, price real, name text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < :rows)
insert into item select i, i * 7919 % 101, i * 31 % 997 / 7.0, printf('%x-%s', i * 2654435761 % 4294967296, char(97 + i % 26)) from n;
create index by_kind on item (kind, price);
create table kind (id integer primary key, title text collate nocase);
insert into kind select distinct kind, upper(hex(kind)) from item order by kind;
select count(*), sum(price), avg(price), min(name), max(name) from item;
select k.title, count(*), round(sum(i.price), 6) s from item i join kind k on k.id = i.kind group by k.id order by s desc limit 7;
select id, price, rank() over (partition by kind order by price desc) r, sum(price) over (order by id rows 3 preceding) from item where id % 97 = 5 order by r, id limit 9;
begin;
update item set price = price * 1.1, name = replace(name, '-', '+') where kind % 5 = 2;
delete from item where id in (select id from item where name like '%f%' and price > 50);
savepoint half;
delete from item;
rollback to half;
commit;
select count(*), round(total(price), 6), count(distinct kind) from item;
create virtual table words using fts5(name);
insert into words select replace(name, '+', ' ') from item where id < 1500;
select count(*) from words where words match 'a OR b';
select sum(json_extract(json_object('a', id, 'b', json_array(price, name)), '$.a')) from item;
with recursive fib(a, b, n) as (select 0, 1, 0 union all select b, a + b, n + 1 from fib where n < 80) select max(a) from fib;
select group_concat(hex(zeroblob(2)) || id, ',') from (select id from item order by name limit 12);
explain query plan select * from item where kind = 5 order by price;
drop index by_kind;
vacuum;
pragma integrity_check;
