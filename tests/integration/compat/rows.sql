delete from other; delete from facts; select setval('numbers', 1, false), setval('other_id_seq', 1, false);
insert into facts values (1, 'one'), (2, 'two'), (3, 'three');
