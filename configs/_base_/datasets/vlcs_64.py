# VLCS at 64 pixels, for small students. LFI_DATA_ROOT is the parent folder of VLCS, LFI_TARGET_DOMAIN the domain left
# out of training.
_base_ = './domains_64.py'

data_root = '{{$LFI_DATA_ROOT:data}}/VLCS'
target_domain = '{{$LFI_TARGET_DOMAIN:Caltech101}}'
source_domains = __import__('lfi.datasets', fromlist=['VLCS']).VLCS.source_domains(data_root, target_domain)
num_classes = 5

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(type='lfi.VLCS', data_root=data_root, domains=source_domains))
val_dataloader = dict(dataset=dict(type='lfi.VLCS', data_root=data_root, domains=source_domains))
test_dataloader = dict(dataset=dict(type='lfi.VLCS', data_root=data_root, domains=[target_domain]))
