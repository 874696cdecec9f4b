BEGIN TRANSACTION;
CREATE TABLE failover_segments (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted INTEGER, 
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	service_type VARCHAR(255) NOT NULL, 
	description TEXT, 
	recovery_method VARCHAR(13) NOT NULL, 
	enabled BOOLEAN, 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_segment0name0deleted UNIQUE (name, deleted), 
	CONSTRAINT uniq_segments0uuid UNIQUE (uuid)
);
INSERT INTO "failover_segments" VALUES('2026-11-21 12:07:44.000000',NULL,NULL,0,1,'db4fe54d-bec6-4c20-a5b3-4129f0943e7d','rack','COMPUTE','the first rack','auto',1);
INSERT INTO "failover_segments" VALUES('2026-11-21 12:07:44.000000',NULL,NULL,0,2,'d36a70d7-2ab4-4733-bfc7-5274e44ccddb','with a spare','COMPUTE',NULL,'rh_priority',1);
INSERT INTO "failover_segments" VALUES('2026-11-21 12:07:44.000000',NULL,'2026-11-21 12:07:44.885289',3,3,'920d981c-a2b3-408b-a5a6-8d1469b3a5ce','given up','COMPUTE',NULL,'reserved_host',1);
CREATE TABLE hosts (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted INTEGER, 
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	reserved BOOLEAN, 
	type VARCHAR(255) NOT NULL, 
	control_attributes TEXT NOT NULL, 
	failover_segment_id VARCHAR(36) NOT NULL, 
	on_maintenance BOOLEAN, 
	PRIMARY KEY (id), 
	FOREIGN KEY(failover_segment_id) REFERENCES failover_segments (uuid), 
	CONSTRAINT uniq_host0name0deleted UNIQUE (name, deleted), 
	CONSTRAINT uniq_host0uuid UNIQUE (uuid)
);
INSERT INTO "hosts" VALUES('2026-11-21 12:07:44.000000','2026-11-21 12:07:49.000000',NULL,0,1,'6ddd576b-f588-4793-b9bf-f80291476333','compute1',0,'COMPUTE','SSH','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',1);
INSERT INTO "hosts" VALUES('2026-11-21 12:07:44.000000','2026-11-21 12:07:54.000000',NULL,0,2,'0f597717-325d-43ff-981e-254cfa831667','compute2',0,'COMPUTE','SSH','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',1);
INSERT INTO "hosts" VALUES('2026-11-21 12:07:44.000000','2026-11-21 12:08:08.000000','2026-11-21 12:08:08.343429',3,3,'8fdab438-6ffd-415f-82ff-7c912c8e9ffb','compute3',0,'COMPUTE','SSH','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',0);
INSERT INTO "hosts" VALUES('2026-11-21 12:07:44.000000',NULL,NULL,0,4,'a0778e9a-8830-4831-9c3f-8a231d6a106e','compute4',1,'COMPUTE','IPMI é','d36a70d7-2ab4-4733-bfc7-5274e44ccddb',0);
CREATE TABLE masakari_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT masakari_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "masakari_alembic_version" VALUES('13adff5efb9a');
CREATE TABLE notifications (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted INTEGER, 
	id INTEGER NOT NULL, 
	notification_uuid VARCHAR(36) NOT NULL, 
	generated_time DATETIME NOT NULL, 
	source_host_uuid VARCHAR(36) NOT NULL, 
	type VARCHAR(36) NOT NULL, 
	payload TEXT, 
	status VARCHAR(8) NOT NULL, failover_segment_uuid VARCHAR(36), message TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_notification0uuid UNIQUE (notification_uuid)
);
INSERT INTO "notifications" VALUES('2026-11-21 12:07:44.000000','2026-11-21 12:07:45.000000',NULL,0,1,'a21f10cf-c73a-4fe6-b765-71493b38cad4','2026-11-21 12:07:44.893323','0f597717-325d-43ff-981e-254cfa831667','VM','{"instance_uuid": "439ae8db-b203-47ca-9190-54814af88514", "event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED"}','finished','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',NULL);
INSERT INTO "notifications" VALUES('2026-11-21 12:07:46.000000','2026-11-21 12:07:46.000000',NULL,0,2,'a9cd5cd7-16e1-4160-8938-446134ca8356','2026-11-21 12:07:46.332493','0f597717-325d-43ff-981e-254cfa831667','VM','{"instance_uuid": "439ae8db-b203-47ca-9190-54814af88514", "event": "LIFECYCLE", "vir_domain_event": "NOTHING"}','ignored','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',NULL);
INSERT INTO "notifications" VALUES('2026-11-21 12:07:47.000000','2026-11-21 12:07:47.000000',NULL,0,3,'26beb106-0267-47df-b9d4-a2c15925c036','2026-11-21 12:07:47.421443','8fdab438-6ffd-415f-82ff-7c912c8e9ffb','PROCESS','{"process_name": "nova-compute", "event": "STOPPED"}','finished','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',NULL);
INSERT INTO "notifications" VALUES('2026-11-21 12:07:48.000000','2026-11-21 12:07:48.000000',NULL,0,4,'851fc99e-9fe3-4be9-9272-4fde92b8007f','2026-11-21 12:07:48.529096','0f597717-325d-43ff-981e-254cfa831667','COMPUTE_HOST','{"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "UNKNOWN"}','ignored','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',NULL);
INSERT INTO "notifications" VALUES('2026-11-21 12:07:49.000000','2026-11-21 12:07:54.000000',NULL,0,5,'2331531b-05b6-4eec-852e-7589f3ff4276','2026-11-21 12:07:49.601058','6ddd576b-f588-4793-b9bf-f80291476333','COMPUTE_HOST','{"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}','finished','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',NULL);
INSERT INTO "notifications" VALUES('2026-11-21 12:07:54.000000','2026-11-21 12:08:07.000000',NULL,0,6,'db85805b-fe32-46e3-b361-ca82418f8cec','2026-11-21 12:07:54.814366','0f597717-325d-43ff-981e-254cfa831667','COMPUTE_HOST','{"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}','failed','db4fe54d-bec6-4c20-a5b3-4129f0943e7d',NULL);
CREATE TABLE vmoves (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted INTEGER, 
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	notification_uuid VARCHAR(36) NOT NULL, 
	instance_uuid VARCHAR(36) NOT NULL, 
	instance_name VARCHAR(255) NOT NULL, 
	source_host VARCHAR(255), 
	dest_host VARCHAR(255), 
	start_time DATETIME, 
	end_time DATETIME, 
	type VARCHAR(36), 
	status VARCHAR(255), 
	message TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_vmove0uuid UNIQUE (uuid)
);
INSERT INTO "vmoves" VALUES('2026-11-21 12:07:52.000000','2026-11-21 12:07:54.000000',NULL,0,1,'1f894f19-6e79-4cbd-913a-1908b9848470','2331531b-05b6-4eec-852e-7589f3ff4276','58ffdfcf-8234-41af-ae44-3ccd180e096d','vm-9','compute1','compute2','2026-11-21 12:07:53.098240','2026-11-21 12:07:54.153030','evacuation','succeeded',NULL);
INSERT INTO "vmoves" VALUES('2026-11-21 12:07:52.000000','2026-11-21 12:07:54.000000',NULL,0,2,'c2e6ded5-00d1-4a6a-b712-77abc3d0014e','2331531b-05b6-4eec-852e-7589f3ff4276','be301156-674e-4312-997c-e81155a0c018','vm-1','compute1','compute2','2026-11-21 12:07:53.089784','2026-11-21 12:07:54.166420','evacuation','succeeded',NULL);
INSERT INTO "vmoves" VALUES('2026-11-21 12:07:52.000000','2026-11-21 12:07:54.000000',NULL,0,3,'a90405dc-b8db-4157-a4a5-cc22905e45ac','2331531b-05b6-4eec-852e-7589f3ff4276','fa9b1e7a-1b50-4ef9-89cd-621f23eb537f','vm-5','compute1','compute4','2026-11-21 12:07:53.081431','2026-11-21 12:07:54.143341','evacuation','succeeded',NULL);
INSERT INTO "vmoves" VALUES('2026-11-21 12:07:58.000000','2026-11-21 12:07:58.000000',NULL,0,4,'8602b421-e0ec-4bbb-a898-48908d4b63a5','db85805b-fe32-46e3-b361-ca82418f8cec','439ae8db-b203-47ca-9190-54814af88514','vm-6','compute2',NULL,'2026-11-21 12:07:58.357964','2026-11-21 12:07:58.390359','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-000000b6-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:07:58.000000','2026-11-21 12:07:58.000000',NULL,0,5,'b56a0840-123c-4e4b-8d39-22dbb392823f','db85805b-fe32-46e3-b361-ca82418f8cec','4fd4e999-a0eb-47a1-8f77-e6f47374fb6e','vm-10','compute2',NULL,'2026-11-21 12:07:58.344219','2026-11-21 12:07:58.370861','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-000000b1-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:07:58.000000','2026-11-21 12:07:58.000000',NULL,0,6,'3875ce24-eae2-489a-8035-9089fc7e3ade','db85805b-fe32-46e3-b361-ca82418f8cec','58ffdfcf-8234-41af-ae44-3ccd180e096d','vm-9','compute2',NULL,'2026-11-21 12:07:58.265008','2026-11-21 12:07:58.307172','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-00000096-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:07:58.000000','2026-11-21 12:07:58.000000',NULL,0,7,'035befcc-7686-46a4-858e-a6aecf7e2474','db85805b-fe32-46e3-b361-ca82418f8cec','b1ffe06d-c742-4b53-a2f2-52e0815cac38','vm-2','compute2',NULL,'2026-11-21 12:07:58.230536','2026-11-21 12:07:58.260529','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-0000008d-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:07:58.000000','2026-11-21 12:07:58.000000',NULL,0,8,'d5e960b3-b19b-4ba1-9f85-181fffbee690','db85805b-fe32-46e3-b361-ca82418f8cec','be301156-674e-4312-997c-e81155a0c018','vm-1','compute2',NULL,'2026-11-21 12:07:58.239887','2026-11-21 12:07:58.281560','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-00000091-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:08:06.000000','2026-11-21 12:08:07.000000',NULL,0,9,'eb28f6d4-cc11-473b-ba47-eb73992a3b79','db85805b-fe32-46e3-b361-ca82418f8cec','439ae8db-b203-47ca-9190-54814af88514','vm-6','compute2',NULL,'2026-11-21 12:08:07.058723','2026-11-21 12:08:07.089589','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-00000105-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:08:06.000000','2026-11-21 12:08:07.000000',NULL,0,10,'cfed4dda-4ab2-4ab8-a1df-0de22eaa0fcd','db85805b-fe32-46e3-b361-ca82418f8cec','4fd4e999-a0eb-47a1-8f77-e6f47374fb6e','vm-10','compute2',NULL,'2026-11-21 12:08:07.068245','2026-11-21 12:08:07.099662','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-00000106-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:08:06.000000','2026-11-21 12:08:06.000000',NULL,0,11,'6e4085af-f038-4231-bb27-0aa4241413a9','db85805b-fe32-46e3-b361-ca82418f8cec','58ffdfcf-8234-41af-ae44-3ccd180e096d','vm-9','compute2',NULL,'2026-11-21 12:08:06.933229','2026-11-21 12:08:06.987352','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-000000e5-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:08:06.000000','2026-11-21 12:08:06.000000',NULL,0,12,'16812adb-1624-47b7-a4be-47eecbb26fb6','db85805b-fe32-46e3-b361-ca82418f8cec','b1ffe06d-c742-4b53-a2f2-52e0815cac38','vm-2','compute2',NULL,'2026-11-21 12:08:06.907591','2026-11-21 12:08:06.956854','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-000000e3-0000-4000-8000-000000000000)');
INSERT INTO "vmoves" VALUES('2026-11-21 12:08:06.000000','2026-11-21 12:08:06.000000',NULL,0,13,'ae9270dd-787c-4d09-ab41-4f02717ba9aa','db85805b-fe32-46e3-b361-ca82418f8cec','be301156-674e-4312-997c-e81155a0c018','vm-1','compute2',NULL,'2026-11-21 12:08:06.917531','2026-11-21 12:08:06.971133','evacuation','failed','Invalid input received: Compute service of compute2 is still in use. (HTTP 400) (Request-ID: req-000000e4-0000-4000-8000-000000000000)');
CREATE INDEX segments_service_type_idx ON failover_segments (service_type);
CREATE INDEX hosts_type_idx ON hosts (type);
COMMIT;
